"""Where the time goes, and how far from the limit.

    python -m tools.bench                       # everything: twenty minutes, on a GPU less than ten
    python -m tools.bench step loss --json it.json

What is compared takes turns in one process, on the same numbers, and the median counts. A floor
is work that cannot be left out; the peers are torchvision's own detectors and transforms as
they come.
"""

import json
import subprocess
import sys
import time
from argparse import BooleanOptionalAction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tools import measure, workloads
from tools.bench_parts import feeding, loader, loss, post_processing
from tools.peers import theirs, training_theirs
from tools.predicting import predicting_onnx, predicting_ours
from tools.race import CASES, compare
from tools.workloads import batch, training_ours
from utils import parallel
from utils.files import must_be_new, write
from utils.log import read_log
from utils.options import Parser
from utils.recipes import RECIPES
from utils.stop import run_script


def steps(flags):
    """From bytes on the device to changed weights."""
    for name, (recipe, peer, sizes) in CASES.items():
        images, size = sizes[flags.device.type]
        step, bare = training_ours(recipe, flags.device, images, size)
        works = dict(
            ours_in_float32=training_ours(recipe, flags.device, images, size, precision="float32")[
                0
            ]
        )
        if flags.compile:
            works["ours_compiled"] = training_ours(
                recipe, flags.device, images, size, compiled=True
            )[0]
        rows = compare(
            flags,
            f"step: {name}, {images} x {size[0]} x {size[1]}",
            floor=bare,
            ours=step,
            **works,
            torchvision=training_theirs(peer, flags.device, images, size, recipe),
        )
        print(
            "    images/s: "
            + ", ".join(f"{row['work']} {images / row['seconds']:.1f}" for row in rows)
        )
        shares = measure.shares(step, flags.device)
        print("    of ours: " + ", ".join(f"{part} {share:.1%}" for part, share in shares.items()))
        yield from [*rows, dict(title=f"shares: {name}", **shares)]
        if flags.device.type == "cuda":
            yield dict(
                title=f"limits: {name}", **measure.limits_of_a_gpu(step, bare, rows[1]["seconds"])
            )


def evaluating(flags):
    """What COCO's metrics of 5,000 images take beyond pycocotools' own work."""
    seconds = workloads.time_evaluation()
    print(
        f"\neval: 5000 images x 100 detections\n    pycocotools "
        f"{seconds['pycocotools']:.1f} s, ours "
        f"{seconds['ours']:.1f} s: {seconds['ours'] / seconds['pycocotools']:.0%} of it"
    )
    yield dict(title="eval: 5000 images x 100 detections", **seconds)


@torch.no_grad()
def inference(flags):
    """One image, from bytes on the device to detections."""
    for name, (recipe, peer, sizes) in CASES.items():
        _, size = sizes[flags.device.type]
        pixels, targets = batch(1, size, flags.device)
        bare, ours = predicting_ours(recipe, flags.device, pixels, targets)
        works = dict(
            torchvision=partial(
                theirs(peer, size, recipe).to(flags.device).eval(), list(pixels / 255)
            )
        )
        if flags.device.type == "cpu":
            works["ours_by_onnxruntime"] = predicting_onnx(recipe, flags.device, pixels, targets)
        if flags.compile:
            works["ours_compiled"] = predicting_ours(
                recipe, flags.device, pixels, targets, compiled=True
            )[1]
        yield from compare(
            flags, f"infer: {name}, 1 x {size[0]} x {size[1]}", floor=bare, ours=ours, **works
        )


def memory(flags):
    """Whether training grows: the most that the process has held so far, as Linux counts it."""
    import resource  # which Windows has not

    step, _ = training_ours(RECIPES["shapes"], flags.device, 2, (128, 160))
    held = []
    for _ in range(500):
        step()
        held.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    print(
        f"\nmemory: {held[99] / 2**20:.0f} MiB after 100 iterations, "
        f"{held[-1] / held[99] - 1:+.2%} after 500"
    )
    yield dict(title="memory: bytes after 100 and 500 iterations", held=[held[99], held[-1]])


def shapes(flags, *arguments):
    """All of `python train.py`, from its start to its precision."""
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                Path(__file__).parents[1] / "train.py",
                "--device",
                flags.device.type,
                "--save-folder",
                folder,
                "--name",
                "run",
                *arguments,
            ],
            check=True,
            capture_output=True,
        )
        seconds = time.perf_counter() - start
        log = read_log(Path(folder, "run", "log.jsonl"))
        reached = [entry for entry in log if "AP" in entry][-1]
    print(f"\nshapes: AP {reached['AP']:.3f} and AP50 {reached['AP50']:.3f} after {seconds:.0f} s")
    yield dict(title="shapes: python train.py", seconds=seconds, **reached)


# The first is memory: what other parts have held would hide what it needs.
PARTS = dict(
    memory=memory,
    loader=loader,
    feed=feeding,
    step=steps,
    loss=loss,
    detections=post_processing,
    eval=evaluating,
    infer=inference,
    shapes=shapes,
)


def main():
    parser = Parser(__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, "all"], default=["all"], help="all if none is named"
    )
    parser.add_argument("--device", help="cpu or cuda; a GPU where there is one")
    parser.add_argument(
        "--compile",
        action=BooleanOptionalAction,
        help="network and losses, too; on a GPU by itself",
    )
    parser.add_argument(
        "--seconds", type=float, default=15, help="that each comparison takes at least: 15"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    flags = parser.parse()
    flags.device, flags.threads = parallel.start(flags.device), torch.get_num_threads()
    must_be_new(flags.json)
    name = (
        torch.cuda.get_device_name()
        if flags.device.type == "cuda"
        else f"{flags.threads} CPU threads"
    )
    flags.compile = flags.device.type == "cuda" if flags.compile is None else flags.compile
    print(f"torch {torch.__version__} on {name}")
    rows = [
        row
        for part, tell in PARTS.items()
        if {part, "all"} & set(flags.parts)
        for row in tell(flags)
    ]
    if flags.json:
        write(flags.json, json.dumps(dict(device=name, rows=rows), indent=1))


if __name__ == "__main__":
    run_script(main)
