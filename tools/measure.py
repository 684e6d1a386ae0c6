"""How tools.bench measures: seconds and their shares, memory, operations a second."""

import time

import numpy as np
import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode


def clock(device):
    """Seconds, as soon as the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def shares(work, device):
    """The share of its time that each part of a work takes; it is called with whom to tell when a
    part is done."""
    laps = [("", clock(device))]
    work(lambda part: laps.append((part, clock(device))))
    whole = laps[-1][1] - laps[0][1]
    return {part: (end - start) / whole for (_, start), (part, end) in zip(laps, laps[1:])}


def limits_of_a_gpu(step, bare, seconds):
    """How fast a step that takes so long calculates, beside a matrix product; its memory; whether
    the program waits for it."""
    with FlopCounterMode(display=False) as counter:
        bare()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
        waits = ""
    except RuntimeError as error:
        waits = str(error)
    torch.cuda.set_sync_debug_mode("default")
    limits = dict(
        flops=counter.get_total_flops() / seconds,
        matrix_flops=matrix_speed(),
        peak_bytes=torch.cuda.max_memory_allocated(),
        synchronisation=waits,
    )
    print(
        f"    {limits['flops'] / 1e12:.0f} TFLOP/s of {limits['matrix_flops'] / 1e12:.0f} "
        "of a matrix product; "
        f"{limits['peak_bytes'] / 2**30:.1f} GiB; "
        f"{f'synchronises: {waits}' if waits else 'no synchronisation'}"
    )
    return limits


def matrix_speed(device="cuda", side=8192):
    """Operations a second of a device that does nothing but multiply large matrices."""
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return (
        2
        * side**3
        / Timer("matrix @ matrix", globals=dict(matrix=matrix)).blocked_autorange().median
    )


def peak_memory(work, device):
    """The bytes that a work's tensors need at once."""
    work()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    kinds = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds, profile_memory=True) as profile:
        work()
    events = sorted(
        (event.start_ns(), event.nbytes())
        for event in profile.profiler.kineto_results.events()
        if event.name() == "[memory]"
    )
    return int(max(np.cumsum([size for _, size in events])))
