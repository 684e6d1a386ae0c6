"""The shapes dataset: rectangles, ellipses and triangles on clouds, drawn once into a folder."""

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from data.records import Entry, Object, Source
from data.text import UserError

CLASSES = ("rectangle", "ellipse", "triangle")
NUM_IMAGES = {"train": 1200, "val": 200}
IMAGE_SIZES = ((128, 160), (160, 128))  # (height, width)
MAX_OBJECTS = 8  # of an image
EMPTY_SHARE = 0.05  # of the images have no object
MAX_COVERED = 0.3  # the largest share of an object that another one may cover
MARKER = "drawn_by_onestage.txt"  # the file that says that a folder was drawn here, and is complete


def read(root):
    """The Source of the dataset, which is drawn first if it is not there.

    Its annotations are in COCO's format. As they were written here, they need not be searched for
    and checked like those of others.
    """
    root = Path(root)
    if not (root / MARKER).is_file():
        draw_dataset(root)
    splits = {}
    for split in NUM_IMAGES:
        path = root / f"annotations/instances_{split}.json"
        try:
            splits[split] = read_split(json.loads(path.read_text()), root / split)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: damaged ({error}); delete {root} to have it drawn again"
            ) from None
    return Source(list(CLASSES), splits, {name: i for i, name in enumerate(CLASSES, start=1)})


def read_split(content, folder):
    """The entries of one split, given what draw_split returned for it."""
    objects = defaultdict(list)
    for item in content["annotations"]:
        left, top, width, height = item["bbox"]
        name = CLASSES[item["category_id"] - 1]
        box = (left, top, left + width, top + height)
        objects[item["image_id"]].append(Object(*box, name, area=item["area"]))
    entries = []
    for image in content["images"]:
        path = str(folder / image["file_name"])
        size = (image["height"], image["width"])
        entries.append(Entry(path, size, image["id"], objects[image["id"]]))
    return entries


def draw_dataset(root):
    """Draw the dataset into a folder, which must be empty or not exist: other files in it would be
    the user's."""
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(
            f"{root} holds other files, and shapes are drawn into a new folder only: "
            "choose another --root, or say what it holds with --dataset"
        )
    print(f"drawing the shapes dataset into {root}")
    # A folder that is renamed when it is complete is never taken for complete when it is not.
    unfinished = root.with_name(f"{root.name}.unfinished-{os.getpid()}")
    try:
        (unfinished / "annotations").mkdir(parents=True)
        for part, (split, count) in enumerate(NUM_IMAGES.items()):
            (unfinished / split).mkdir()
            content = json.dumps(draw_split(unfinished / split, count, part))
            (unfinished / f"annotations/instances_{split}.json").write_text(content)
        text = "Drawn by onestage's data/shapes.py; it can be deleted and drawn again.\n"
        (unfinished / MARKER).write_text(text)
        unfinished.rename(root)
    except OSError as error:
        if (root / MARKER).is_file():
            # Another process has drawn it meanwhile.
            return
        raise UserError(f"cannot write the shapes dataset to {root}: {error.strerror}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def draw_split(folder, count, part):
    """Write the images of one split -> their annotations, in COCO's format."""
    images = []
    annotations = []
    for number in range(count):
        image, objects = draw_image(np.random.default_rng((part, number)))
        name = f"{number:04d}.jpg"
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        (folder / name).write_bytes(data)
        height, width = image.shape[:2]
        images.append(dict(id=number, file_name=name, height=height, width=width))
        for (left, top, right, bottom), label in objects:
            box = [left, top, right - left, bottom - top]
            ids = dict(id=len(annotations) + 1, image_id=number, category_id=label + 1)
            annotations.append(ids | dict(bbox=box, area=box[2] * box[3], iscrowd=0))
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, start=1)]
    return dict(images=images, annotations=annotations, categories=categories)


def draw_image(rng, sizes=IMAGE_SIZES, max_objects=MAX_OBJECTS):
    """An image [H, W, 3] and its objects, as ((left, top, right, bottom), label)."""
    height, width = sizes[rng.integers(len(sizes))]
    image = background(rng, height, width)
    objects = []
    for _ in range(0 if rng.random() < EMPTY_SHARE else rng.integers(1, max_objects + 1)):
        side = round(min(height, width) * np.exp(rng.uniform(np.log(1 / 12), np.log(1 / 2))))
        stretch = np.sqrt(rng.uniform(2 / 3, 3 / 2))
        box_width = max(round(side * stretch), 10)
        box_height = max(round(side / stretch), 10)
        left = int(rng.integers(0, width - box_width + 1))
        top = int(rng.integers(0, height - box_height + 1))
        box = (left, top, left + box_width, top + box_height)
        # A place that is taken is not replaced by another: there may be fewer objects than drawn.
        if all(covered_share(box, other) < MAX_COVERED for other, _ in objects):
            label = int(rng.integers(len(CLASSES)))
            draw_shape(image, box, label, rng)
            objects.append((box, label))
    noise = rng.normal(scale=4, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), objects


def background(rng, height, width):
    """An image of soft clouds, with up to four lines that are not the edges of any object."""
    image = rng.uniform(40, 200, size=(4, 5, 3)) * 0.6 + rng.uniform(0, 100, size=3)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    image = image.clip(0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 5)):
        start = int(rng.integers(width)), int(rng.integers(height))
        end = int(rng.integers(width)), int(rng.integers(height))
        cv2.line(image, start, end, rng.integers(0, 256, 3).tolist(), 1, cv2.LINE_AA)
    return image


def draw_shape(image, box, label, rng):
    """Draw a filled shape that touches all four sides of its box and stands out from the image."""
    left, top, right, bottom = box
    ground = image[top:bottom, left:right].mean(axis=(0, 1))
    colour = rng.uniform(0, 255, 3)
    while np.abs(colour - ground).max() < 60:
        colour = rng.uniform(0, 255, 3)
    # It is drawn four times as large, then shrunk: edges are as soft as in a photograph.
    width, height = 4 * (right - left), 4 * (bottom - top)
    mask = np.zeros((height, width), np.uint8)
    centre = (width // 2, height // 2)
    if CLASSES[label] == "rectangle":
        mask[:] = 255
    elif CLASSES[label] == "ellipse":
        cv2.ellipse(mask, centre, centre, 0, 0, 360, 255, -1)
    else:
        tip = rng.integers(0, width)
        corners = [(tip, 0), (width - 1, height - 1), (0, height - 1)]
        cv2.fillPoly(mask, [np.array(corners, np.int32)], 255)
    mask = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    mask = mask[..., None] / 255
    ramp = np.linspace(-1, 1, bottom - top)[:, None, None]
    shade = (colour + rng.uniform(-20, 20, 3) * ramp).clip(0, 255)
    region = image[top:bottom, left:right]
    region[:] = (region * (1 - mask) + shade * mask).astype(np.uint8)


def covered_share(box, other):
    """The share of the smaller of two boxes that the other covers, from 0 to 1."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (box, other)]
    return max(width, 0) * max(height, 0) / min(areas)
