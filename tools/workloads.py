"""What tools.bench measures: batches of numbers, images on disk, the same work done by torchvision
and by pycocotools."""

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision import tv_tensors
from torchvision.transforms import v2

from data.dataset import Dataset
from data.records import Entry, Object, pack
from utils import parallel
from utils.build import build_collate, build_detector, build_optimizer, build_transform
from utils.evaluation import metrics
from utils.guard import Guard
from utils.recipes import RECIPES

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
    model, criterion = build_detector(recipe | dict(compile=compiled), CLASSES)
    model.to(device, memory_format=parallel.training_format(device)).train()
    optimizer = build_optimizer(recipe, model)
    network = parallel.Network(model, device, precision, compiled)
    guard = Guard(model, optimizer, recipe.max_grad_norm, str)
    pixels, targets = batch(images, size, device)

    def step(done=lambda part: None):
        optimizer.zero_grad()
        box_deltas, class_logits = network(pixels)
        done("forward")
        box_loss, class_loss = criterion(box_deltas, class_logits, model.priors(size), targets)
        done("loss")
        (box_loss + class_loss).backward()
        done("backward")
        guard.clip()
        done("clip")
        optimizer.step()
        done("step")

    def bare():
        optimizer.zero_grad()
        sum(prediction.sum() for prediction in network(pixels)).backward()

    return step, bare


@contextmanager
def photographs(count=16):
    """JPEG files of 640 x 480 pixels, with colours and grain as photographs have -> records."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        entries = []
        for i in range(count):
            path = Path(folder, f"{i}.jpg")
            image = random.integers(0, 256, (24, 32, 3), np.uint8)
            image = cv2.resize(image, (640, 480), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(
                str(path), (image + random.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)
            )
            objects = [Object(*box, "any") for box in boxes(7, (480, 640)).tolist()]
            entries.append(Entry(path, (480, 640), i, objects))
        yield pack(entries, ["any"])


def loading(records):
    """RetinaNet's images, each from its file into a batch -> floor (decode and resize), ours."""
    recipe = RECIPES["retinanet_adam"]
    dataset, collate = (
        Dataset(["any"], records, build_transform(recipe, augment=True)),
        build_collate(recipe),
    )
    images = range(len(records))
    return dict(
        floor=lambda: [cv2.resize(cv2.imread(records.path(i)), (811, 608)) for i in images],
        ours=lambda: [
            collate([dataset[0, i, (0, 0)], dataset[0, i + 1, (0, 0)]]) for i in images[::2]
        ],
    )


def augmenting(records):
    """SSD300's augmentation of decoded images -> ours, torchvision's; every turn draws anew."""
    samples = [Dataset(["any"], records, None).read(i) for i in range(len(records))]
    transform, random = (
        build_transform(RECIPES["ssd300_voc"], augment=True),
        np.random.default_rng(0),
    )
    chain = v2.Compose(
        [
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill=[123, 117, 104]),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(),
            v2.Resize((300, 300)),
            v2.SanitizeBoundingBoxes(),
        ]
    )
    known = [
        (
            tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)),
            dict(
                boxes=tv_tensors.BoundingBoxes(
                    target["boxes"], format="XYXY", canvas_size=image.shape[:2]
                ),
                labels=torch.from_numpy(target["labels"]),
            ),
        )
        for image, target in samples
    ]
    return dict(
        ours=lambda: [transform(*sample, random) for sample in samples],
        torchvision=lambda: [chain(*sample) for sample in known],
    )


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
