"""Where the time goes, and how far from the limit.

    python -m tools.bench                            # everything: twenty minutes, on a GPU less than ten
    python -m tools.bench step loss --json it.json

What is compared takes turns in one process, on the same numbers, and the median counts. A floor is work that nobody can
leave out; the peers are torchvision's own detectors and transforms as they come.
"""
import json
import subprocess
import sys
import time
from argparse import BooleanOptionalAction
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from layers.boxes import DELTA_SCALE
from layers.detections import detections
from layers.losses import FocalLoss
from layers.priors import level_sizes
from retinanet import RetinaNet
from tools import measure, workloads
from tools.workloads import CLASSES, batch, predicting_ours, theirs, training_ours, training_theirs
from utils import options, parallel
from utils.files import must_be_new, write
from utils.log import read
from utils.recipes import RECIPES

# A recipe, its peer, and the images of a training step: on a CPU, on a GPU.
CASES = {"RetinaNet-50": (RECIPES["retinanet_coco"], "retinanet_resnet50_fpn",
                          dict(cpu=(2, (512, 512)), cuda=(16, (800, 1344)))),
         "SSD300": (RECIPES["ssd300_coco"], "ssd300_vgg16", dict(cpu=(4, (300, 300)), cuda=(64, (300, 300))))}
LARGE = (800, 1344)


def compare(flags, title, **works):
    """Race works, of which one may be the floor, one ours, others peers; tell the medians -> a row for each."""
    for work in works.values():
        work()  # to warm up
    seconds, end = {name: [] for name in works}, time.perf_counter() + flags.seconds
    while time.perf_counter() < end or len(seconds["ours"]) < 3:
        for name, work in works.items():
            start = measure.clock(flags.device)
            work()
            seconds[name].append(measure.clock(flags.device) - start)
    print(f"\n{title}")
    rows, medians = [], {name: median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        against = "floor" if name.startswith("ours") and "floor" in works else "ours"
        rows.append(dict(title=title, work=name, seconds=value, against=against, times=value / medians[against]))
        print(f"    {name:16} {1000 * value:10.2f} ms {rows[-1]['times']:6.2f} times {against}", flush=True)
    return rows


def steps(flags):
    """From bytes on the device to changed weights."""
    for name, (recipe, peer, sizes) in CASES.items():
        images, size = sizes[flags.device.type]
        step, bare = training_ours(recipe, flags.device, images, size)
        works = dict(ours_in_float32=training_ours(recipe, flags.device, images, size, full_precision=True)[0])
        if flags.compile:
            works["ours_compiled"] = training_ours(recipe, flags.device, images, size, compiled=True)[0]
        rows = compare(flags, f"step: {name}, {images} x {size[0]} x {size[1]}", floor=bare, ours=step, **works,
                       torchvision=training_theirs(peer, flags.device, images, size, recipe))
        print("    images/s: " + ", ".join(f"{row['work']} {images / row['seconds']:.1f}" for row in rows))
        shares = measure.shares(step, flags.device)
        print("    of ours: " + ", ".join(f"{part} {share:.1%}" for part, share in shares.items()))
        yield from [*rows, dict(title=f"shares: {name}", **shares)]
        if flags.device.type == "cuda":
            yield dict(title=f"limits: {name}", **measure.limits_of_a_gpu(step, bare, rows[1]["seconds"]))


def loss(flags):
    """Matching and losses alone, forward and backward."""
    priors = RetinaNet(1, 18, channels=32).to(flags.device).priors(LARGE)
    _, targets = batch(2, LARGE, flags.device, objects=20)
    deltas = torch.randn(2, len(priors), 4, device=flags.device, requires_grad=True)
    logits = (torch.randn(2, len(priors), CLASSES, device=flags.device) - 4.6).requires_grad_()
    peer = theirs("retinanet_resnet50_fpn", LARGE, RECIPES["retinanet_coco"])

    def ours():
        return torch.autograd.grad(sum(FocalLoss()(deltas, logits, priors, targets)), [deltas, logits])

    def torchvision():
        losses = peer.compute_loss(targets, dict(cls_logits=logits, bbox_regression=deltas), [priors] * 2)
        return torch.autograd.grad(sum(losses.values()), [deltas, logits])
    title = f"loss: {len(priors)} priors x {CLASSES} classes x 2 images x 20 objects"
    yield from compare(flags, title, ours=ours, torchvision=torchvision)
    peaks = {work.__name__: measure.peak_memory(work, flags.device) for work in (ours, torchvision)}
    print("    memory: " + ", ".join(f"{name} {peak / 2 ** 20:.0f} MiB" for name, peak in peaks.items()))
    yield dict(title=title, peak_bytes=peaks)


def loader(flags):
    """From files to batches, in one process with one thread."""
    torch.set_num_threads(1)
    with workloads.photographs() as records:
        yield from compare(flags, "loader: 16 JPEG of 640 x 480 to short side 608", **workloads.loading(records))
        yield from compare(flags, "loader: SSD300's augmentation of 16 images", **workloads.augmenting(records))
    torch.set_num_threads(flags.threads)


@torch.no_grad()
def post_processing(flags):
    """From raw predictions to detections, where one score in ten is over the threshold."""
    model = RetinaNet(1, 18, channels=32).to(flags.device)
    priors, levels = model.priors(LARGE), level_sizes(LARGE, model.levels)
    deltas = torch.randn(1, len(priors), 4, device=flags.device) * 0.3
    # 1.28 deviations over the mean lies a tenth of the normal distribution.
    logits = torch.randn(1, len(priors), CLASSES, device=flags.device) + torch.tensor(0.05).logit().item() - 1.28
    raw = dict(cls_logits=list(logits.split(levels, 1)),
               bbox_regression=list((deltas * torch.tensor(DELTA_SCALE, device=flags.device)).split(levels, 1)))
    peer = theirs("retinanet_resnet50_fpn", LARGE, RECIPES["retinanet_coco"])

    def ours():
        return detections(deltas[0], logits[0], priors, LARGE, model.scores, levels, limit=300)

    def torchvision():
        return peer.postprocess_detections(raw, [list(priors.split(levels))], [LARGE])[0]
    title = f"detections: {len(priors)} priors x {CLASSES} classes, one in ten over the threshold"
    yield from compare(flags, title, ours=ours, torchvision=torchvision)
    found, expected = ours()["boxes"], torchvision()["boxes"]
    print(f"    {len(found)} and {len(expected)} detections, {(found - expected).abs().max():.1e} pixels apart at most")


def judging(flags):
    """What COCO's metrics of 5,000 images take beyond pycocotools' own work."""
    seconds = workloads.judging()
    print(f"\neval: 5000 images x 100 detections\n    pycocotools {seconds['pycocotools']:.1f} s, ours "
          f"{seconds['ours']:.1f} s: {seconds['ours'] / seconds['pycocotools']:.0%} of it")
    yield dict(title="eval: 5000 images x 100 detections", **seconds)


@torch.no_grad()
def inference(flags):
    """One image, from bytes on the device to detections."""
    for name, (recipe, peer, sizes) in CASES.items():
        _, size = sizes[flags.device.type]
        pixels, targets = batch(1, size, flags.device)
        bare, ours = predicting_ours(recipe, flags.device, pixels, targets)
        works = dict(torchvision=partial(theirs(peer, size, recipe).to(flags.device).eval(), list(pixels / 255)))
        if flags.compile:
            works["ours_compiled"] = predicting_ours(recipe, flags.device, pixels, targets, compiled=True)[1]
        yield from compare(flags, f"infer: {name}, 1 x {size[0]} x {size[1]}", floor=bare, ours=ours, **works)


def memory(flags):
    """Whether training grows: the most that the process has held so far, as Linux counts it."""
    import resource  # which Windows has not
    step, _ = training_ours(RECIPES["shapes"], flags.device, 2, (128, 160))
    held = []
    for _ in range(500):
        step()
        held.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    print(f"\nmemory: {held[99] / 2 ** 20:.0f} MiB after 100 iterations, {held[-1] / held[99] - 1:+.2%} after 500")
    yield dict(title="memory: bytes after 100 and 500 iterations", held=[held[99], held[-1]])


def shapes(flags, *arguments):
    """All of `python train.py`, from its start to its precision."""
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([sys.executable, Path(__file__).parents[1] / "train.py", "--device", flags.device.type,
                        "--save-folder", folder, "--name", "run", *arguments], check=True, capture_output=True)
        seconds, reached = time.perf_counter() - start, read(Path(folder, "run", "log.jsonl"))[-1]
    print(f"\nshapes: AP {reached['AP']:.3f} and AP50 {reached['AP50']:.3f} after {seconds:.0f} s")
    yield dict(title="shapes: python train.py", seconds=seconds, **reached)


# The first is memory: what other parts have held would hide what it needs.
PARTS = dict(memory=memory, loader=loader, step=steps, loss=loss, detections=post_processing, eval=judging,
             infer=inference, shapes=shapes)


def main():
    parser = options.new_parser(__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default=["all"], help="all if none is named")
    parser.add_argument("--device", help="cpu or cuda; a GPU where there is one")
    parser.add_argument("--compile", action=BooleanOptionalAction, help="network and losses, too; on a GPU by itself")
    parser.add_argument("--seconds", type=float, default=15, help="that each comparison takes at least: 15")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    flags = options.parse(parser)
    flags.device, flags.threads = parallel.start(flags.device), torch.get_num_threads()
    must_be_new(flags.json)
    name = torch.cuda.get_device_name() if flags.device.type == "cuda" else f"{flags.threads} CPU threads"
    flags.compile = flags.device.type == "cuda" if flags.compile is None else flags.compile
    print(f"torch {torch.__version__} on {name}")
    rows = [row for part, tell in PARTS.items() if {part, "all"} & set(flags.parts) for row in tell(flags)]
    if flags.json:
        write(flags.json, json.dumps(dict(device=name, rows=rows), indent=1))


if __name__ == "__main__":
    options.script(main)
