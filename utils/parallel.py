"""Devices and processes: one CPU or GPU, several GPUs of one process, or one process each under torchrun."""
import datetime
import os
import sys
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn

from data.errors import UserError

# A process that died is noticed by the others' next exchange; this is how long a mere delay may last.
PATIENCE = datetime.timedelta(minutes=30)


class Network(nn.Module):
    """The model in the precision of its device, its predictions in float32.

    The precision is chosen inside forward, for the replicas of DataParallel do not inherit it from outside. compiled:
    by torch.compile, anew for every size of images.
    """

    def __init__(self, model, device, full_precision=False, compiled=False):
        super().__init__()
        self.model, self.compiled = model, compiled
        if compiled:
            # Its weights and their names remain what they are; model.forward remains the plain one.
            model.compile(dynamic=False)
        self.half = not full_precision and has_bfloat16(device)

    def forward(self, images):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half):
            box_deltas, class_logits = self.model(images) if self.compiled else self.model.forward(images)
        return box_deltas.float(), class_logits.float()


def has_bfloat16(device):
    """Whether bfloat16 is the hardware's own, so that it is faster and not merely possible."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Processors with AMX have AVX512_BF16 as well.
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def start(name=None):
    """The device this process works on, having met the other processes if torchrun started several."""
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() and name != "cpu" else "gloo", timeout=PATIENCE)
        if dist.get_rank() > 0:
            # One voice is enough.
            sys.stdout = open(os.devnull, "w")
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}") from None
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    return device


@contextmanager
def one_first():
    """What is within is done by the first process, then by the others: the first may have files to make."""
    if rank() > 0:
        dist.barrier()
    yield
    if rank() == 0 and world() > 1:
        dist.barrier()


def same(make):
    """What the first process makes, for all."""
    made = [make() if rank() == 0 else None]
    if world() > 1:
        dist.broadcast_object_list(made)
    return made[0]


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


def world():
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wrap(network, device):
    """The network as several devices run it, each on its part of the batch."""
    if dist.is_initialized():
        return nn.parallel.DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        return nn.DataParallel(network)
    return network


def mean(values):
    """A tensor's mean over all processes."""
    if world() > 1:
        dist.all_reduce(values)
    return values / world()


def together(found):
    """What each process found, image number -> detections, in one dictionary that every process gets."""
    if world() == 1:
        return found
    parts = [None] * world()
    dist.all_gather_object(parts, found)
    return {image: one for part in parts for image, one in part.items()}


def to_device(images, targets, device):
    """Bytes travel, and the host does not wait for them."""
    targets = [{name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
                for name, value in target.items()} for target in targets]
    return images.to(device, non_blocking=True), targets
