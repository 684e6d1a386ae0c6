"""Measure how fast everything is, beside torchvision and beside what cannot be left out.

    python -m tools.bench                       # every part: twenty minutes, under ten on a GPU
    python -m tools.bench step loss --json it.json

Functions that are compared take turns in one process, on the same numbers, and their median times
count. The floor is the work that cannot be left out; torchvision's detectors and transforms run as
they come.
"""

import json
import os
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from tools import workloads
from tools.workloads import NUM_CLASSES, NUM_PRIORS
from utils import parallel
from utils.files import must_be_new, write
from utils.options import Parser
from utils.recipes import retinanet_coco, shapes, ssd300_coco
from utils.stop import run_script

# The recipes that are measured, and the images of their training steps on each kind of device: how
# many, and their (height, width).
DETECTORS = {
    "RetinaNet-50": (retinanet_coco, dict(cpu=(2, (512, 512)), cuda=(16, (800, 1344)))),
    "SSD300": (ssd300_coco, dict(cpu=(4, (300, 300)), cuda=(64, (300, 300)))),
}
PREDICTIONS = f"{NUM_PRIORS} priors x {NUM_CLASSES} classes"


class Report:
    """Prints figures as they are measured, and keeps them as rows of the JSON file."""

    def __init__(self, device, seconds):
        self.device = device
        self.seconds = seconds  # that a comparison takes at least
        self.rows = []

    def add(self, title, line, **figures):
        """Print a line below its title, and keep the figures."""
        if not self.rows or self.rows[-1]["title"] != title:
            print(f"\n{title}")
        print(f"    {line}", flush=True)
        self.rows.append(dict(title=title, **figures))

    def compare(self, title, functions, images=0, calls=1):
        """Add a row for each of the functions, name -> function; return their median seconds.

        Ours are compared with the floor, where there is one, and everything else with ours. images:
        how many a function works on, for their number a second. calls is that of median_seconds.
        """
        medians = median_seconds(functions, self.device, self.seconds, calls)
        for name, seconds in medians.items():
            against = "floor" if name.startswith("ours") and "floor" in medians else "ours"
            times = seconds / medians[against]
            line = f"{name:20} {1000 * seconds:10.2f} ms {times:6.2f} times {against}"
            figures = dict(work=name, seconds=seconds, against=against, times=times)
            if images:
                figures["images_per_second"] = images / seconds
                line = f"{line:50} {images / seconds:8.1f} images/s"
            self.add(title, line, **figures)
        return medians


def median_seconds(functions, device, at_least, calls=1):
    """The median time of each function; they take turns, for at_least so many seconds.

    calls: how often each is called before the program waits for the device.
    """
    # The first call of a function is slower than all others.
    for function in functions.values():
        function()
    seconds = {name: [] for name in functions}
    turns = 0
    end = clock(device) + at_least
    while turns < 3 or clock(device) < end:
        turns += 1
        for name, function in functions.items():
            start = clock(device)
            for _ in range(calls):
                function()
            seconds[name].append((clock(device) - start) / calls)
    return {name: median(values) for name, values in seconds.items()}


def clock(device):
    """The time in seconds, once the device has done everything that it was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def measure_memory(flags, report):
    """Whether training needs more and more memory."""
    import resource  # Windows does not have it.

    batch = workloads.random_batch(2, (128, 160), flags.device)
    _, step = workloads.training_step(shapes, *batch)
    held = []
    for iterations in (100, 400):
        for _ in range(iterations):
            step()
        # The most that the process has held so far; Linux counts it in KiB.
        held.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    line = f"{held[0] / 2**20:.0f} MiB after 100 iterations, {held[1] / held[0] - 1:+.2%} after 500"
    report.add("memory: bytes after 100 and 500 iterations", line, held=held)


def measure_loader(flags, report):
    """From files to batches, in one process with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with workloads.photo_files(16) as records:
        reading = workloads.reading(records)
        report.compare("loader: 16 JPEG of 640 x 480 to short side 608", reading)
        augmenting = workloads.augmenting(records)
        report.compare("loader: SSD300's augmentation of 16 images", augmenting)
    torch.set_num_threads(threads)


def measure_feed(flags, report):
    """From files to batches on the device, by as many processes as there are cores."""
    workers = os.cpu_count()
    # Each process loads two batches in advance; with more, its real speed is measured.
    batches = 3 * workers
    title = f"feed: JPEG of 640 x 480 into training batches, by {workers} processes"
    with workloads.photo_files(64) as records:
        for name, (recipe, steps) in DETECTORS.items():
            batch, _ = steps[flags.device.type]
            recipe = recipe | dict(batch=batch, workers=workers)
            load = workloads.loading(recipe, records, flags.device, batches)
            seconds = median_seconds(dict(load=load), flags.device, flags.seconds)
            speed = batches * batch / seconds["load"]
            line = f"{name:20} {speed:10.0f} images/s"
            report.add(title, line, work=name, images_per_second=speed)


def measure_steps(flags, report):
    """Training steps, from bytes on the device to changed weights."""
    # While training, the program waits for a GPU only where a line is logged, and starts the
    # operations of a step while those of the last are still being computed.
    calls = 10 if flags.device.type == "cuda" else 1
    for name, (recipe, steps) in DETECTORS.items():
        images, size = steps[flags.device.type]
        batch = workloads.random_batch(images, size, flags.device)
        functions = workloads.training_steps(recipe, *batch, flags.compile)
        title = f"step: {name}, {images} x {size[0]} x {size[1]}"
        seconds = report.compare(title, functions, images, calls)
        if flags.device.type == "cuda":
            add_gpu_limits(report, f"limits: {name}", functions, seconds)


def add_gpu_limits(report, title, functions, seconds):
    """Add a row: operations a second of our step and of a matrix product, the memory that a step
    needs, and where the program waits for the GPU, if it does."""
    with FlopCounterMode(display=False) as counter:
        functions["floor"]()
    flops = counter.get_total_flops() / seconds["ours"]
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_sync_debug_mode("error")
    waits = ""
    try:
        functions["ours"]()
    except RuntimeError as error:
        waits = str(error)
    torch.cuda.set_sync_debug_mode("default")
    peak = torch.cuda.max_memory_allocated()
    limit = matrix_flops()
    line = f"{flops / 1e12:.0f} TFLOP/s of {limit / 1e12:.0f} of a matrix product; "
    line += f"{peak / 2**30:.1f} GiB; {f'synchronises: {waits}' if waits else 'no synchronisation'}"
    figures = dict(flops=flops, matrix_flops=limit, peak_bytes=peak, synchronisation=waits)
    report.add(title, line, **figures)


def matrix_flops(device="cuda", side=8192):
    """Operations a second of a device that does nothing but multiply large matrices."""
    device = torch.device(device)
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    seconds = median_seconds(dict(product=lambda: matrix @ matrix), device, at_least=0.2)
    return 2 * side**3 / seconds["product"]


def measure_loss(flags, report):
    """Matching and losses alone, forward and backward."""
    functions = workloads.losses(flags.device)
    title = f"loss: {PREDICTIONS} x 2 images x 20 objects"
    report.compare(title, functions)
    peaks = {name: peak_memory(function, flags.device) for name, function in functions.items()}
    line = ", ".join(f"{name} {peak / 2**20:.0f} MiB" for name, peak in peaks.items())
    report.add(title, f"memory: {line}", peak_bytes=peaks)


def peak_memory(function, device):
    """The bytes that the tensors of a function need at once."""
    function()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - before
    # PyTorch has no such count for a CPU, but its profiler sees every allocation and release.
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profile:
        function()
    events = profile.profiler.kineto_results.events()
    changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return int(max(np.cumsum([size for _, size in sorted(changes)])))


@torch.no_grad()
def measure_detections(flags, report):
    """From raw predictions to detections, where one score in ten is over the threshold."""
    functions = workloads.post_processing(flags.device)
    title = f"detections: {PREDICTIONS}, one in ten over the threshold"
    report.compare(title, functions)
    boxes, expected = (function()["boxes"] for function in functions.values())
    pixels = (boxes - expected).abs().max().item()
    line = f"{len(boxes)} and {len(expected)} detections, at most {pixels:.1e} pixels apart"
    report.add(title, line, pixels=pixels)


def measure_evaluation(flags, report):
    """COCO's metrics of 1,000 images, beside pycocotools' own work."""
    functions = workloads.evaluation(images=1000, found=100)
    report.compare("eval: 1000 images x 100 detections", functions)


@torch.no_grad()
def measure_inference(flags, report):
    """One image, from bytes on the device to detections."""
    for name, (recipe, steps) in DETECTORS.items():
        _, size = steps[flags.device.type]
        batch = workloads.random_batch(1, size, flags.device)
        functions = workloads.inference(recipe, *batch, flags.compile)
        report.compare(f"infer: {name}, 1 x {size[0]} x {size[1]}", functions)


# Memory comes first: what other parts have held would hide what it needs.
PARTS = dict(
    memory=measure_memory,
    loader=measure_loader,
    feed=measure_feed,
    step=measure_steps,
    loss=measure_loss,
    detections=measure_detections,
    eval=measure_evaluation,
    infer=measure_inference,
)


def main():
    parser = Parser(__doc__)
    parts = [*PARTS, "all"]
    parser.add_argument("parts", nargs="*", choices=parts, default="all", help="which parts: all")
    parser.add_argument("--device", help="cpu or cuda; a GPU where there is one")
    parser.add_argument("--seconds", type=float, default=15, help="least time of a comparison: 15")
    parser.add_argument("--json", type=Path, help="write all figures to this new file")
    flags = parser.parse()
    must_be_new(flags.json)
    flags.device = parallel.start(flags.device)
    # Compiling takes minutes, and is worth them on a GPU.
    flags.compile = flags.device.type == "cuda"
    threads = f"{torch.get_num_threads()} CPU threads"
    name = torch.cuda.get_device_name() if flags.compile else threads
    print(f"torch {torch.__version__} on {name}")
    report = Report(flags.device, flags.seconds)
    for part, measure in PARTS.items():
        if part in flags.parts or "all" in flags.parts:
            measure(flags, report)
    if flags.json:
        write(flags.json, json.dumps(dict(device=name, rows=report.rows), indent=1))


if __name__ == "__main__":
    run_script(main)
