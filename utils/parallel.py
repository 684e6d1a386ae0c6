"""Devices and processes: one CPU or GPU, several GPUs of one process, or a process each
(torchrun)."""

import datetime
import os
import sys
from contextlib import contextmanager

import torch
import torch.distributed as dist

from data.text import UserError

# What a recipe may ask for -> the type of the numbers that a network computes with.
PRECISIONS = dict(auto=None, bf16=torch.bfloat16, fp16=torch.float16, float32=torch.float32)
# How long a process waits for the others before it gives up.
TIMEOUT = datetime.timedelta(minutes=30)


def precision_of(precision, device):
    """torch.bfloat16, float16 or float32: what a recipe's precision means on a device.

    "auto" is the half precision that the hardware is fast in, not merely able to; else float32.
    """
    if precision != "auto":
        return PRECISIONS[precision]
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        # The first tensor cores, of V100, T4 and RTX 20, know float16 alone.
        has_tensor_cores = torch.cuda.get_device_capability(device) >= (7, 0)
        return torch.float16 if has_tensor_cores else torch.float32
    if device.type != "cpu" or not torch.cpu._is_avx512_bf16_supported():
        return torch.float32
    # AMD's processors take half as long in bfloat16 as in float32. Intel's need AMX for that, and
    # take 1.4 to 1.7 times as long without. Older versions of PyTorch, which do not report the
    # vendor, get bfloat16.
    names = getattr(torch.cpu, "get_capabilities", dict)()
    is_intel = "Intel" in names.get("cpu_name", "")
    is_slow = is_intel and not torch.cpu._is_amx_tile_supported()
    return torch.float32 if is_slow else torch.bfloat16


def training_format(device):
    """How weights and images lie in memory while a network learns.

    Channels last is the fastest, but not for the gradients of convolutions on a CPU with AVX2: with
    it, a step of SSD300 takes 1.5 times as long there.
    """
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        return torch.contiguous_format
    return torch.channels_last


def start(name=None):
    """Join the other processes, if torchrun started any. Returns this process's device.

    name is as in --device. A device of cuda without a number stands for all GPUs.
    """
    if "RANK" in os.environ and not dist.is_initialized():
        use_gpu = torch.cuda.is_available() and name != "cpu"
        dist.init_process_group("nccl" if use_gpu else "gloo", timeout=TIMEOUT)
        if dist.get_rank() > 0:
            # Only the first process prints.
            sys.stdout = open(os.devnull, "w")
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    name = f"cuda:{name}" if str(name).isdecimal() else name
    try:
        device = torch.device(name)
        if device.type == "cuda":
            device = choose_gpu(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"--device {name}: {reason}; PyTorch sees {torch.cuda.device_count()} GPUs, which are "
            "cuda:0, cuda:1, ..., and cpu"
        ) from None
    return device


def choose_gpu(device):
    """Make a GPU the current one: that which was named, else torchrun's, else the first."""
    number = device.index
    if number is None:
        number = int(os.environ.get("LOCAL_RANK", 0))
    elif int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > 1:
        raise UserError(f"--device {device}: torchrun gives each process a GPU; leave it out")
    if number >= torch.cuda.device_count():
        raise RuntimeError(f"there is no GPU {number}")
    # Before anything else, or every process would take memory of the first GPU as well.
    torch.cuda.set_device(number)
    return torch.device("cuda", number) if dist.is_initialized() else device


@contextmanager
def rank0_first():
    """For work that may write files: the first process does it, then the others find them. Where it
    fails, its error is enough, and the others exit."""
    worked = [True]
    if rank() > 0:
        dist.broadcast_object_list(worked)
        if not worked[0]:
            sys.exit(2)
    try:
        yield
    except BaseException:
        worked = [False]
        raise
    finally:
        if rank() == 0 and world_size() > 1:
            dist.broadcast_object_list(worked)


def broadcast_from_rank0(make):
    """What make() returns in the first process, for all of them."""
    made = [None]
    with rank0_first():
        if rank() == 0:
            made = [make()]
    if world_size() > 1:
        dist.broadcast_object_list(made)
    return made[0]


def rank():
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size():
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def mean(values):
    """A tensor's mean over all processes."""
    total = values.clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total / world_size()


def copy_statistics_from_rank0(model):
    """Give every process the statistics of batch norm that the first one has, which it saves."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def gather_detections(detect):
    """What detect() returns in every process, image number -> dict, in one dictionary that all get,
    in order. A UserError in one of them is raised in all."""
    if world_size() == 1:
        return dict(sorted(detect().items()))
    try:
        own_part = detect()
    except UserError as problem:
        own_part = problem
    parts = [None] * world_size()
    dist.all_gather_object(parts, own_part)
    for part in parts:
        if isinstance(part, UserError):
            raise part
    return dict(sorted((image, result) for part in parts for image, result in part.items()))
