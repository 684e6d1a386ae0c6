"""Shapes: rectangles, ellipses and triangles on cloudy ground, drawn once into a folder."""

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
IMAGES = {"train": 1200, "val": 200}
SIDES = ((128, 160), (160, 128))  # height, width
EMPTY = 0.05  # the share of images without any object
MAX_COVERED = 0.3  # no object covers more than this share of another
MARKER = "drawn_by_onestage.txt"  # a folder with this file in it was drawn here, and is whole


def read(root):
    """The drawn dataset, drawn first if need be -> Source.

    Its annotations are COCO's format, but nothing has to be searched or suspected here.
    """
    root = Path(root)
    draw_once(root)
    splits = {}
    for split in IMAGES:
        path = root / f"annotations/instances_{split}.json"
        try:
            splits[split] = read_split(json.loads(path.read_text()), root / split)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: damaged ({error}); without {root} it is drawn again"
            ) from None
    return Source(list(CLASSES), splits, {name: i for i, name in enumerate(CLASSES, start=1)})


def read_split(content, folder):
    """The entries of what draw_split has returned."""
    objects = defaultdict(list)
    for item in content["annotations"]:
        left, top, width, height = item["bbox"]
        name = CLASSES[item["category_id"] - 1]
        box = (left, top, left + width, top + height)
        objects[item["image_id"]].append(Object(*box, name, area=item["area"]))
    entries = []
    for image in content["images"]:
        path, size = str(folder / image["file_name"]), (image["height"], image["width"])
        entries.append(Entry(path, size, image["id"], objects[image["id"]]))
    return entries


def draw_once(root):
    """Draw the dataset unless it is there already.

    It is drawn only into a folder that is absent or empty: anything else there is the user's.
    """
    root = Path(root)
    if (root / MARKER).is_file():
        return
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(
            f"{root} holds other files, and shapes are drawn into a new folder only: "
            "choose another --root, or say what it holds with --dataset"
        )
    draw_dataset(root)


def draw_dataset(root):
    """All images and both annotation files, drawn beside root and renamed when whole."""
    print(f"drawing the shapes dataset into {root}")
    unfinished = root.with_name(f"{root.name}.unfinished-{os.getpid()}")
    try:
        (unfinished / "annotations").mkdir(parents=True)
        for part, (split, count) in enumerate(IMAGES.items()):
            (unfinished / split).mkdir()
            content = json.dumps(draw_split(unfinished / split, count, part))
            (unfinished / f"annotations/instances_{split}.json").write_text(content)
        text = "Drawn by onestage's data/shapes.py; it can be deleted and drawn again.\n"
        (unfinished / MARKER).write_text(text)
        unfinished.rename(root)
    except OSError as error:
        if (root / MARKER).is_file():
            return  # another process was faster
        raise UserError(f"cannot write the shapes dataset to {root}: {error.strerror}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def draw_split(folder, count, part):
    """Images as files, their annotations as COCO's dictionary."""
    images, annotations = [], []
    for number in range(count):
        image, objects = draw_image(np.random.default_rng((part, number)))
        name = f"{number:04d}.jpg"
        cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        height, width = image.shape[:2]
        images.append(dict(id=number, file_name=name, height=height, width=width))
        for (left, top, right, bottom), label in objects:
            box = [left, top, right - left, bottom - top]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=label + 1,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=0,
                )
            )
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, start=1)]
    return dict(images=images, annotations=annotations, categories=categories)


def draw_image(random):
    """One image [H, W, 3] and its objects: ((left, top, right, bottom), label), up to eight."""
    height, width = SIDES[random.integers(len(SIDES))]
    image = background(random, height, width)
    objects = []
    for _ in range(0 if random.random() < EMPTY else random.integers(1, 9)):
        side = round(min(height, width) * np.exp(random.uniform(np.log(1 / 12), np.log(1 / 2))))
        stretch = np.sqrt(random.uniform(2 / 3, 3 / 2))
        box_width, box_height = max(round(side * stretch), 10), max(round(side / stretch), 10)
        left = int(random.integers(0, width - box_width + 1))
        top = int(random.integers(0, height - box_height + 1))
        box = (left, top, left + box_width, top + box_height)
        others = [other for other, _ in objects]
        if all(max(covered(other, box), covered(box, other)) < MAX_COVERED for other in others):
            label = int(random.integers(len(CLASSES)))
            draw_shape(image, box, label, random)
            objects.append((box, label))
    noise = random.normal(scale=4, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), objects


def background(random, height, width):
    """Clouds of two colours, and a few lines that are no object's edge."""
    image = random.uniform(40, 200, size=(4, 5, 3)) * 0.6 + random.uniform(0, 100, size=3)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    image = image.clip(0, 255).astype(np.uint8)
    for _ in range(random.integers(0, 5)):
        start = int(random.integers(width)), int(random.integers(height))
        end = int(random.integers(width)), int(random.integers(height))
        cv2.line(image, start, end, random.integers(0, 256, 3).tolist(), 1, cv2.LINE_AA)
    return image


def draw_shape(image, box, label, random):
    """A filled shape that touches all four sides of its box, unlike the ground in colour."""
    left, top, right, bottom = box
    ground = image[top:bottom, left:right].mean(axis=(0, 1))
    colour = random.uniform(0, 255, 3)
    while np.abs(colour - ground).max() < 60:
        colour = random.uniform(0, 255, 3)
    # Four times the size, then shrunk: edges fall between pixels, as in a photograph.
    width, height = 4 * (right - left), 4 * (bottom - top)
    mask = np.zeros((height, width), np.uint8)
    centre = (width // 2, height // 2)
    if CLASSES[label] == "rectangle":
        mask[:] = 255
    elif CLASSES[label] == "ellipse":
        cv2.ellipse(mask, centre, centre, 0, 0, 360, 255, -1)
    else:
        tip = random.integers(0, width)
        corners = [(tip, 0), (width - 1, height - 1), (0, height - 1)]
        cv2.fillPoly(mask, [np.array(corners, np.int32)], 255)
    mask = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    mask = mask[..., None] / 255
    ramp = np.linspace(-1, 1, bottom - top)[:, None, None]
    shade = (colour + random.uniform(-20, 20, 3) * ramp).clip(0, 255)
    region = image[top:bottom, left:right]
    region[:] = (region * (1 - mask) + shade * mask).astype(np.uint8)


def covered(box, other):
    """The share of box that lies within other."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(width, 0) * max(height, 0) / area
