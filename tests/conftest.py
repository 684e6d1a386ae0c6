"""What several tests need: targets by hand, and tiny datasets on disk."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

# Two tests run at a time: each has one core to itself, and so have the scripts that it starts.
os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import pytest
import torch

from data import shapes
from data.reading import read_folder, select_classes
from data.records import Entry, Object, pack
from utils.log import read_log

ROOT = Path(__file__).parent.parent


def make_target(*objects):
    """(left, top, right, bottom, label[, ignore]) ... -> the target of one image, without
    arguments an empty one."""
    return dict(
        boxes=torch.tensor([one[:4] for one in objects], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([one[4] for one in objects], dtype=torch.long),
        ignore=torch.tensor([len(one) > 5 and one[5] for one in objects], dtype=torch.bool),
    )


def write_image(path, height=64, width=96, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = (
        np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    )
    cv2.imwrite(str(path), cv2.resize(image, (width, height)))


def write_coco(root, objects, split="train", names=("cat", "dog"), ids=(1, 2), height=64, width=96):
    """A folder in COCO's layout: objects is a list, for each image, of (left, top, width, height,
    class number)."""
    annotations = []
    for image, boxes in enumerate(objects):
        # Equal pictures would not be in two splits.
        seed = image if split == "train" else 1000 + image
        write_image(root / f"{split}2017/{image}.jpg", height, width, seed)
        annotations += [
            dict(
                id=len(annotations) + i,
                image_id=image,
                category_id=ids[box[4]],
                bbox=list(box[:4]),
                area=box[2] * box[3],
                iscrowd=0,
            )
            for i, box in enumerate(boxes, start=1)
        ]
    content = dict(
        images=[
            dict(id=i, file_name=f"{i}.jpg", height=height, width=width)
            for i in range(len(objects))
        ],
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in zip(ids, names)],
    )
    (root / "annotations").mkdir(exist_ok=True)
    (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
    return content


def make_records(images, classes=None):
    """images: a list, for each image, of its size and its objects (left, top, right, bottom, name
    [, ignore[, area]]) -> Records; the classes are the names, in their order."""
    entries = [
        Entry(f"folder/{i}.jpg", size, i, [Object(*item) for item in objects])
        for i, (size, objects) in enumerate(images)
    ]
    names = {item.name for entry in entries for item in entry.objects} - {None}
    return pack(entries, classes or sorted(names))


def read_split(name, root, split="train", names=None):
    """What a format's reader finds in one of a dataset's own splits -> classes, records."""
    source = read_folder(name, root)
    classes = select_classes(source, names)
    entries = source.splits[split if split in source.splits else "all"]
    records = pack(entries, classes, source.category_ids, source.notes)
    return classes, replace(records, problems=(*source.problems, *records.problems))


def draw_shapes(root, **counts):
    """Draw so many images of each split of shapes, train and val, into a folder; they are the first
    of those that the dataset has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "NUM_IMAGES", counts)
        shapes.read(root)
    return root


def wait_for_log(process, folder, entries):
    """Until a run, which must not end before, has written so many lines of its log."""
    while len(read_log(folder / "log.jsonl")) < entries:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


class Malicious:
    """A pickle of it would print, if it were executed."""

    def __reduce__(self):
        return print, ("executed",)
