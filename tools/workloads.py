"""What tools.bench measures: batches of numbers, and the same work done by pycocotools."""

import time
from unittest import mock

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.nn.utils import clip_grad_norm_

from data.records import Entry, Object, pack
from utils import parallel
from utils.build import build_detector, build_optimizer
from utils.evaluation import metrics
from utils.steps import FiniteCheck

CLASSES = 80


def batch(images, size, device, objects=8):
    """Bytes [B, 3, H, W] and as many targets, as the loader's reach the device."""
    pixels = torch.randint(0, 256, (images, 3, *size), dtype=torch.uint8, device=device)
    return pixels.contiguous(memory_format=torch.channels_last), [
        dict(
            boxes=boxes(objects, size).to(device),
            labels=torch.randint(0, CLASSES, (objects,), device=device),
            ignore=torch.zeros(objects, dtype=torch.bool, device=device),
            index=0,
            size=size,
        )
        for _ in range(images)
    ]


def boxes(objects, size):
    limit = torch.tensor([size[1], size[0]])
    corner = torch.rand(objects, 2) * 0.7 * limit
    return torch.cat([corner, corner + limit * (0.05 + 0.25 * torch.rand(objects, 2))], dim=1)


def training_ours(recipe, device, images, size, precision="auto", compiled=False):
    """A whole training step of a detector, which tells what it has done, and its bare network,
    forward and backward."""
    recipe = recipe | dict(precision=precision, compile=compiled)
    model, criterion = build_detector(recipe, CLASSES)
    model.to(device, memory_format=parallel.training_format(device)).train()
    optimizer = build_optimizer(recipe, model)
    finite = FiniteCheck(str, device)
    half_type = parallel.half_type_of(precision, device)
    if compiled:
        model.compile(dynamic=False)
    pixels, targets = batch(images, size, device)
    pixels = pixels.contiguous(memory_format=parallel.training_format(device))

    def network(pixels):
        with torch.autocast(device.type, half_type, enabled=half_type is not None):
            box_deltas, class_logits = model(pixels)
        return box_deltas.float(), class_logits.float()

    def step(done=lambda part: None):
        optimizer.zero_grad()
        box_deltas, class_logits = network(pixels)
        done("forward")
        box_loss, class_loss = criterion(box_deltas, class_logits, model.priors(size), targets)
        done("loss")
        (box_loss + class_loss).backward()
        done("backward")
        grad_norm = clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.found_inf = finite.found_inf(grad_norm)
        done("clip")
        optimizer.step()
        done("step")

    def bare():
        optimizer.zero_grad()
        sum(prediction.sum() for prediction in network(pixels)).backward()

    return step, bare


def time_evaluation(images=5000, found=100):
    """Seconds of judging so many images with so many detections each: pycocotools' own, and ours
    around it."""
    random, size = np.random.default_rng(0), (480, 640)
    names = [str(i) for i in range(CLASSES)]
    entries = []
    for i in range(images):
        objects = [Object(*box, names[random.integers(CLASSES)]) for box in boxes(7, size).tolist()]
        entries.append(Entry(f"{i}.jpg", size, i, objects))
    records = pack(entries, names)
    guesses = {
        i: dict(
            boxes=boxes(found, size).numpy(),
            scores=random.random(found, np.float32),
            labels=random.integers(0, CLASSES, found),
        )
        for i in range(images)
    }
    inner = []

    def timed(owner, name):
        work = getattr(owner, name)

        def measured(*arguments, **options):
            start = time.perf_counter()
            result = work(*arguments, **options)
            inner.append(time.perf_counter() - start)
            return result

        return mock.patch.object(owner, name, measured)

    with (
        timed(COCO, "loadRes"),
        timed(COCOeval, "evaluate"),
        timed(COCOeval, "accumulate"),
        timed(COCOeval, "summarize"),
    ):
        start = time.perf_counter()
        metrics.compute_metrics("coco", names, records, guesses)
        whole = time.perf_counter() - start
    return dict(pycocotools=sum(inner), ours=whole - sum(inner))
