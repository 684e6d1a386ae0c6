"""The parts of tools.bench that measure one part of training: loss, loader, feed, detections."""

import os

import torch

from layers.boxes import DELTA_SCALE
from layers.detections import detections
from layers.losses import FocalLoss
from layers.priors import level_sizes
from retinanet import RetinaNet
from tools import loading, measure
from tools.peers import theirs
from tools.race import CASES, LARGE, compare
from tools.workloads import CLASSES, batch
from utils.recipes import RECIPES


def loss(flags):
    """Matching and losses alone, forward and backward."""
    priors = RetinaNet(1, 18, channels=32).to(flags.device).priors(LARGE)
    _, targets = batch(2, LARGE, flags.device, objects=20)
    deltas = torch.randn(2, len(priors), 4, device=flags.device, requires_grad=True)
    logits = (torch.randn(2, len(priors), CLASSES, device=flags.device) - 4.6).requires_grad_()
    peer = theirs("retinanet_resnet50_fpn", LARGE, RECIPES["retinanet_coco"])

    def ours():
        return torch.autograd.grad(
            sum(FocalLoss()(deltas, logits, priors, targets)), [deltas, logits]
        )

    def torchvision():
        losses = peer.compute_loss(
            targets, dict(cls_logits=logits, bbox_regression=deltas), [priors] * 2
        )
        return torch.autograd.grad(sum(losses.values()), [deltas, logits])

    title = f"loss: {len(priors)} priors x {CLASSES} classes x 2 images x 20 objects"
    yield from compare(flags, title, ours=ours, torchvision=torchvision)
    peaks = {work.__name__: measure.peak_memory(work, flags.device) for work in (ours, torchvision)}
    print(
        "    memory: " + ", ".join(f"{name} {peak / 2**20:.0f} MiB" for name, peak in peaks.items())
    )
    yield dict(title=title, peak_bytes=peaks)


def loader(flags):
    """From files to batches, in one process with one thread."""
    torch.set_num_threads(1)
    with loading.photographs() as records:
        yield from compare(
            flags, "loader: 16 JPEG of 640 x 480 to short side 608", **loading.reading(records)
        )
        yield from compare(
            flags, "loader: SSD300's augmentation of 16 images", **loading.augmenting(records)
        )
    torch.set_num_threads(flags.threads)


def feeding(flags):
    """Images a second from files into batches, by as many processes as there are cores."""
    workers = os.cpu_count()
    title = f"feed: JPEG of 640 x 480 into training batches, by {workers} processes"
    print(f"\n{title}")
    with loading.photographs(64) as records:
        for name, (recipe, _, sizes) in CASES.items():
            images, _ = sizes[flags.device.type]
            recipe = recipe | dict(batch=images, workers=workers)
            speed = loading.loading_speed(recipe, records, flags.device, flags.seconds)
            print(f"    {name:16} {speed:8.0f} images/s", flush=True)
            yield dict(title=title, work=name, images_per_second=speed)


@torch.no_grad()
def post_processing(flags):
    """From raw predictions to detections, where one score in ten is over the threshold."""
    model = RetinaNet(1, 18, channels=32).to(flags.device)
    priors, levels = model.priors(LARGE), level_sizes(LARGE, model.levels)
    deltas = torch.randn(1, len(priors), 4, device=flags.device) * 0.3
    # 1.28 deviations over the mean lies a tenth of the normal distribution.
    logits = (
        torch.randn(1, len(priors), CLASSES, device=flags.device)
        + torch.tensor(0.05).logit().item()
        - 1.28
    )
    raw = dict(
        cls_logits=list(logits.split(levels, 1)),
        bbox_regression=list(
            (deltas * torch.tensor(DELTA_SCALE, device=flags.device)).split(levels, 1)
        ),
    )
    peer = theirs("retinanet_resnet50_fpn", LARGE, RECIPES["retinanet_coco"])

    def ours():
        return detections(
            deltas[0], logits[0], priors, LARGE, model.scores, levels, max_detections=300
        )

    def torchvision():
        return peer.postprocess_detections(raw, [list(priors.split(levels))], [LARGE])[0]

    title = f"detections: {len(priors)} priors x {CLASSES} classes, one in ten over the threshold"
    yield from compare(flags, title, ours=ours, torchvision=torchvision)
    ours_boxes, expected = ours()["boxes"], torchvision()["boxes"]
    print(
        f"    {len(ours_boxes)} and {len(expected)} detections, "
        f"{(ours_boxes - expected).abs().max():.1e} pixels apart at most"
    )
