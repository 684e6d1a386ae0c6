"""Write a dataset in the format of COCO, YOLO or PASCAL VOC, images and annotations."""

import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import numpy as np
import yaml

from data.folder import PHOTO_FOLDERS
from data.images import PNG, SIDEWAYS, open_image, size_and_orientation
from data.records import ANY_CLASS
from data.text import file_errors


def write_dataset(folder, name, classes, splits):
    """Write records into a new folder in the format of a name -> a list of one note on what it
    cannot hold, or an empty list.

    splits: name of a split, "all" where there are none -> Records. The images are copied as they
    are, with a name of their own for each.
    """
    folder = Path(folder)
    paths = [records.path(i) for records in splits.values() for i in range(len(records))]
    names = iter(new_names(paths))
    parts = []
    num_left_out = 0
    for split, records in splits.items():
        # No format has a place for areas to ignore whatever the class, and YOLO's has none for any
        # object to ignore.
        kept = records.labels != ANY_CLASS
        if name == "yolo":
            kept &= ~records.ignore
        num_left_out += (~kept).sum()
        offsets = np.concatenate([[0], np.cumsum(kept)])[records.offsets]
        records = upright(records).with_objects(kept, offsets)
        parts.append((split, records, [next(names) for _ in range(len(records))]))
    # A folder that is renamed when it is complete is never taken for complete when it is not.
    unfinished = folder.with_name(f"{folder.name}.unfinished-{os.getpid()}")
    try:
        with file_errors(folder, "written"):
            unfinished.mkdir(parents=True)
            WRITERS[name](unfinished, classes, parts)
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    what = "objects or areas that are to be ignored, for which the format has no place"
    return [f"left out: {num_left_out} {what}"] if num_left_out else []


def write_coco(folder, classes, parts):
    """A json file for each split; objects to ignore are crowds, and detections keep their score."""
    for split, records, names in parts:
        copy_images(records, names, folder / "images")
        ids = image_numbers_of(records)
        categories = [dict(id=i, name=name) for i, name in zip(records.category_ids, classes)]
        images = [
            dict(id=number, file_name=name, height=height, width=width)
            for number, name, (height, width) in zip(ids, names, records.sizes.tolist())
        ]
        annotations = []
        for index, number in enumerate(ids):
            for box, label, ignore, area, score in objects_of(records, index):
                left, top, right, bottom = box
                bbox = [round(side, 2) for side in (left, top, right - left, bottom - top)]
                annotations.append(
                    dict(id=len(annotations) + 1, image_id=number)
                    | dict(category_id=records.category_ids[label], bbox=bbox)
                    | dict(area=round(area, 2), iscrowd=int(ignore), segmentation=[])
                    | ({} if score is None else dict(score=round(score, 5)))
                )
        content = dict(images=images, annotations=annotations, categories=categories)
        # CVAT's name for images that are in no split.
        file = f"instances_{'default' if split == 'all' else split}.json"
        save_text(folder / "annotations" / file, json.dumps(content))


def write_yolo(folder, classes, parts):
    """A text file for each image, and data.yaml, which has to name a train and a val."""
    places = {split: split for split, _, _ in parts}
    for split in ("trainval", "all"):
        if split in places and "train" not in places.values():
            places[split] = "train"
    for split, records, names in parts:
        copy_images(records, names, folder / "images" / places[split])
        for index, name in enumerate(names):
            height, width = records.sizes[index].tolist()
            lines = []
            for (left, top, right, bottom), label, *_ in objects_of(records, index):
                x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
                w, h = (right - left) / width, (bottom - top) / height
                lines.append(f"{label} {x:.12g} {y:.12g} {w:.12g} {h:.12g}\n")
            file = Path(name).with_suffix(".txt").name
            save_text(folder / "labels" / places[split] / file, "".join(lines))
    there = [split for split in ("train", "val", "test") if split in places.values()]
    # Without a val, test is validated on; a val that is train's own images stands for no val.
    val = next(split for split in ("val", "test", "train") if split in there)
    settings = dict(train=f"images/{there[0]}", val=f"images/{val}")
    settings |= {"test": "images/test"} if "test" in there else {}
    settings["names"] = dict(enumerate(classes))
    save_text(folder / "data.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def write_voc(folder, classes, parts):
    """An xml file for each image, whose boxes are whole pixels; objects to ignore are difficult."""
    for split, records, names in parts:
        copy_images(records, names, folder / "JPEGImages")
        for index, name in enumerate(names):
            height, width = records.sizes[index].tolist()
            content = dict(filename=name, size=dict(width=width, height=height, depth=3))
            root = element("annotation", content)
            for box, label, ignore, *_ in objects_of(records, index):
                # Halves are rounded up alike, so that no box loses a pixel of its width.
                corners = [int(side + 0.5) for side in box]
                corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), corners))
                flags = dict(pose="Unspecified", truncated=0, difficult=int(ignore))
                item = dict(name=classes[label]) | flags | dict(bndbox=corners)
                root.append(element("object", item))
            ElementTree.indent(root)
            file = Path(name).with_suffix(".xml").name
            text = ElementTree.tostring(root, encoding="unicode")
            save_text(folder / "Annotations" / file, text + "\n")
        # CVAT's name for images that are in no split.
        file = f"{'default' if split == 'all' else split}.txt"
        lines = "".join(f"{Path(name).stem}\n" for name in names)
        save_text(folder / "ImageSets/Main" / file, lines)
    # CVAT's list of the classes.
    lines = ["# label:color_rgb:parts:actions", *(f"{name}:::" for name in classes)]
    save_text(folder / "labelmap.txt", "\n".join(lines) + "\n")


WRITERS = dict(coco=write_coco, yolo=write_yolo, voc=write_voc)


def objects_of(records, index):
    """(box, label, ignore, area, score or None) of each object of an image, as Python's numbers."""
    rows = records.objects(index)
    boxes, labels, ignore, areas = (
        column[rows].tolist()
        for column in (records.boxes, records.labels, records.ignore, records.areas)
    )
    scores = [None] * len(boxes) if records.scores is None else records.scores[rows].tolist()
    return zip(boxes, labels, ignore, areas, scores)


def image_numbers_of(records):
    """The numbers of the images: the dataset's own where they are different whole numbers."""
    ids = records.image_ids.tolist()
    is_own = len(set(ids)) == len(ids) and all(isinstance(number, int) for number in ids)
    return ids if is_own else list(range(1, len(ids) + 1))


def upright(records):
    """The records with all boxes in pixels of the image as it is shown.

    The boxes of an EXIF-rotated photo may have been drawn before its rotation, as the size in its
    annotation tells. YOLO's format has no place for that size, and other programs do not look at
    it.
    """
    sizes = records.sizes.copy()
    boxes = records.boxes.copy()
    for index in range(len(records)):
        path = records.path(index)
        size = tuple(sizes[index].tolist())
        shown_size, orientation = size_and_orientation(path)
        if orientation in SIDEWAYS and shown_size != size:
            rows = records.objects(index)
            boxes[rows] = rotated(boxes[rows], size, orientation)
            sizes[index] = shown_size
    return replace(records, sizes=sizes, boxes=boxes)


def rotated(boxes, size, orientation):
    """Boxes [N, 4] in a photo of a size (height, width), after EXIF's rotation 5, 6, 7 or 8."""
    height, width = size
    # Each of the four swaps x and y; some mirror what that gives.
    boxes = boxes[:, [1, 0, 3, 2]]
    if orientation in (6, 7):
        boxes[:, [0, 2]] = height - boxes[:, [2, 0]]
    if orientation in (7, 8):
        boxes[:, [1, 3]] = width - boxes[:, [3, 1]]
    return boxes


def new_names(paths):
    """A file name for each image: its own, if no image before it has the same stem.

    Otherwise the names of its folders come before it or, if need be, a number after it. Annotations
    are named after stems, and on some systems the case of letters makes no difference.
    """
    taken = set()
    names = []
    for path in map(Path, paths):
        folders = [part for part in path.parts[:-1] if part.lower() not in PHOTO_FOLDERS]
        words = [printable(word) for word in (*folders, path.stem)]
        longer = ("_".join(words[-length:]) for length in range(1, len(words) + 1))
        numbered = (f"{words[-1]}-{number}" for number in count(2))
        stem = next(stem for stem in chain(longer, numbered) if stem.lower() not in taken)
        taken.add(stem.lower())
        names.append(stem + ending_of(path))
    return names


def ending_of(path):
    """The ending of an image file; of a labelme file with a picture in it, that of the picture."""
    if path.suffix.lower() != ".json":
        return path.suffix
    with open_image(path) as file:
        return ".png" if file.read(4) == PNG else ".jpg"


def printable(word):
    """A name without what would end a line, separate folders, hide a file, or be lost at an end."""
    letters = [letter if letter.isprintable() and letter not in "\\/" else "_" for letter in word]
    return "".join(letters).strip(" .") or "_"


def copy_images(records, names, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        with open_image(records.path(index)) as source, open(folder / name, "wb") as copy:
            shutil.copyfileobj(source, copy)


def save_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def element(name, content):
    """An element of XML with the elements of a dict in it, or with a value as its text."""
    item = ElementTree.Element(name)
    if isinstance(content, dict):
        item.extend(element(key, value) for key, value in content.items())
    else:
        # XML has no place for most control characters.
        item.text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "_", str(content))
    return item
