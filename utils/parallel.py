"""Devices and processes: one CPU or GPU, several GPUs of one process, or a process each
(torchrun)."""

import datetime
import os
import sys
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn

from data.errors import UserError

# What a recipe may ask for -> its name.
PRECISION_NAMES = dict(bf16="bfloat16", fp16="float16", float32="float32")
PRECISIONS = ("auto", *PRECISION_NAMES)
# The types of the numbers that a network computes with, beside float32.
HALF_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# A process that died is noticed at the others' next exchange; this is how long a delay may last.
TIMEOUT = datetime.timedelta(minutes=30)


class Network(nn.Module):
    """The model in the precision of its device, its predictions in float32.

    The precision is chosen inside forward, for DataParallel's replicas do not inherit it. compiled:
    by torch.compile, anew for every size of images. A model that learns gets its images in the
    memory format that its weights should have, training_format.
    """

    def __init__(self, model, device, precision="auto", compiled=False):
        super().__init__()
        self.model, self.compiled = model, compiled
        if compiled:
            # Weights and their names remain what they are, and model.forward remains the plain one.
            model.compile(dynamic=False)
        self.half_type = HALF_TYPES.get(precision_of(precision, device))
        self.training_format = training_format(device)

    def forward(self, images):
        if self.model.training:
            images = images.contiguous(memory_format=self.training_format)
        forward = self.model if self.compiled else self.model.forward
        in_half = self.half_type is not None
        with torch.autocast(images.device.type, self.half_type, enabled=in_half):
            box_deltas, class_logits = forward(images)
        return box_deltas.float(), class_logits.float()


def precision_of(precision, device):
    """bfloat16, float16 or float32: what a recipe's precision means on a device."""
    return fastest_precision(device) if precision == "auto" else PRECISION_NAMES[precision]


def fastest_precision(device):
    """The half precision that is the hardware's own, not merely possible; else float32."""
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16"
        # The first tensor cores, of V100, T4 and RTX 20, know float16 alone.
        has_tensor_cores = torch.cuda.get_device_capability(device) >= (7, 0)
        return "float16" if has_tensor_cores else "float32"
    # Processors with AMX have AVX512_BF16 as well.
    is_fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if is_fast else "float32"


def training_format(device):
    """How weights and images lie in memory while a network learns.

    Channels last is the fastest, but not for the gradients of convolutions on a CPU with AVX2: with
    it, a step of SSD300 takes 1.5 times as long there.
    """
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        return torch.contiguous_format
    return torch.channels_last


def start(name=None):
    """The device this process works on, after meeting the other processes that torchrun started."""
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
            if device.index is None:
                device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            count = torch.cuda.device_count()
            if device.index >= count:
                raise RuntimeError(f"there is no GPU {device.index}: PyTorch sees {count}")
            # First of all, or every process would take memory of the first GPU as well.
            torch.cuda.set_device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return device


@contextmanager
def rank0_first():
    """What is within is done by the first process, then by the others: it may have files
    to make."""
    if rank() > 0:
        dist.barrier()
    yield
    if rank() == 0 and world_size() > 1:
        dist.barrier()


def broadcast_from_rank0(make):
    """What the first process makes, for all."""
    made = [make() if rank() == 0 else None]
    if world_size() > 1:
        dist.broadcast_object_list(made)
    return made[0]


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


def world_size():
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wrap(network, device):
    """The network as several devices run it, each on its part of the batch."""
    if dist.is_initialized():
        device_ids = [device] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=device_ids)
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        return nn.DataParallel(network)
    return network


def mean(values):
    """A tensor's mean over all processes."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values / world_size()


def gather_detections(detections):
    """Every process's detections, image number -> dict, in one dictionary that all get, in
    order."""
    parts = [detections]
    if world_size() > 1:
        parts = [None] * world_size()
        dist.all_gather_object(parts, detections)
    return dict(sorted((image, result) for part in parts for image, result in part.items()))


def to_device(images, targets, device):
    """Bytes travel, without synchronisation with the device."""
    moved = []
    for target in targets:
        tensors = {
            name: target[name].to(device, non_blocking=True)
            for name in ("boxes", "labels", "ignore")
        }
        moved.append(target | tensors)
    return images.to(device, non_blocking=True), moved
