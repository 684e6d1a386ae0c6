"""What tools.bench measures of the way from image files to batches."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from data.batch import TrainBatches
from data.dataset import Dataset
from data.records import Entry, Object, pack
from tools import measure
from tools.workloads import boxes
from utils import parallel
from utils.build import build_collate, build_loader, build_transform
from utils.recipes import RECIPES


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


def reading(records):
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


def loading_speed(recipe, records, device, seconds):
    """Images a second that a training's loader brings to the device."""
    dataset = Dataset(["any"], records, build_transform(recipe, augment=True))
    batches = TrainBatches(dataset, recipe.batch)
    loader = iter(build_loader(dataset, batches, recipe, device))
    # Those that were made while the processes started are not counted.
    for _ in range(3 * recipe.workers):
        next(loader)
    images, start = 0, measure.clock(device)
    while images == 0 or measure.clock(device) < start + seconds:
        pixels, _ = parallel.to_device(*next(loader), device)
        images += len(pixels)
    return images / (measure.clock(device) - start)


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
