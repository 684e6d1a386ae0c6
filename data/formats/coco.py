"""COCO's format (https://cocodataset.org/#format-data): a json file for each split."""

import mmap
import os
import re
from collections import defaultdict
from pathlib import Path

from torchvision.models import get_model_weights

from data.folder import Folder, file_split, parent_of
from data.records import Entry, Object, Source
from data.text import UserError, read_json, to_number, with_progress

LAYOUT = "expected annotations/instances_train2017.json and images in train2017/, val alike"
KEYS = ("images", "annotations", "categories")
# The official files of other tasks, whose images and categories look like those of detection.
OTHER_TASKS = r"(.*/)?(person_keypoints|captions|panoptic|stuff|image_info)_[^/]*\.json"


def recognise(folder):
    """The files of a folder that are of this format."""
    found = [file for file in folder.matching(r"(.*/)?[^/]*\.json") if file.count("/") < 4]
    others = set(folder.matching(OTHER_TASKS))
    return [file for file in found if file not in others and is_coco(folder.path(file))]


def is_coco(path):
    """Whether a file has COCO's three keys. It is searched without being read into memory, as the
    official files have up to 450 MB."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return all(data.find(f'"{key}"'.encode()) >= 0 for key in KEYS)
    except (OSError, ValueError):
        return False


def read(folder):
    """The Source of all files of this format in a folder. The name of a file, or of its folder,
    says which split it is."""
    files = recognise(folder)
    if not files:
        broken = folder.matching(r"(.*/)?(instances_[^/]*|[^/]*coco|train|val)\.json")
        if broken:
            # It raises an error that says what is missing or wrong.
            load_coco(folder.path(broken[0]))
        where = folder.root.absolute()
        hint = f"get COCO with: python -m tools.download coco --root {folder.root}"
        raise UserError(f"no COCO annotations in {where}; {LAYOUT}; {hint}")
    by_split = defaultdict(list)
    notes = []
    for file in files:
        by_split[file_split(file) or "all"].append(file)
    for split, options in by_split.items():
        years = {year: file for file in options for year in re.findall(r"20(?:14|17)", file)}
        # The images of 2014 are those of 2017 in other splits.
        if len(years) == len(options) == 2:
            by_split[split] = [years["2017"]]
            notes.append(f"not used: {years['2014']}")
    parts = [
        (split, file, load_coco(folder.path(file)))
        for split in by_split
        for file in by_split[split]
    ]
    return merge(parts, folder, notes)


def read_files(images, annotations, val_images=None, val_annotations=None):
    """The Source of one or two annotation files and the folders of their images."""
    parts = [("train" if val_annotations else "all", annotations, images)]
    if val_annotations:
        parts.append(("val", val_annotations, val_images or images))
    sources = []
    for split, file, image_folder in parts:
        folder = Folder(image_folder or Path(file).parent)
        relative = os.path.relpath(file, folder.root).replace(os.sep, "/")
        sources.append(merge([(split, relative, load_coco(file))], folder, []))
    source = sources[0]
    for other in sources[1:]:
        check_categories(source.category_ids, other.category_ids, val_annotations)
        source.classes += [name for name in other.classes if name not in source.classes]
        source.category_ids |= other.category_ids
        source.splits |= other.splits
        source.notes += other.notes
        source.problems += other.problems
    return source


def load_coco(path):
    """The content of an annotation file, after a check that its three lists hold objects."""
    content = read_json(path)
    missing = [key for key in KEYS if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(f"{path}: not a COCO file, it has no {' and no '.join(missing)}")
    for key in KEYS:
        items = content[key]
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UserError(f"{path}: {key} is not a list of objects in braces")
    return content


def merge(parts, folder, notes):
    """The Source of annotation files, (split, file, content) each, whose categories must agree."""
    ids = {}
    splits = defaultdict(list)
    problems = []
    for split, file, content in parts:
        categories = read_categories(content, folder.path(file))
        names = {number: name for name, number in categories.items()}
        check_categories(ids, categories, folder.path(file))
        ids |= categories
        splits[split] += coco_entries(content, names, folder, file, split, problems)
    # In the order of their ids, which may be numbers in one file and text in another.
    classes = sorted(ids, key=lambda name: (str(type(ids[name])), ids[name]))
    return Source(classes, dict(splits), ids, is_official(classes), notes=notes, problems=problems)


def is_official(classes):
    """Whether these are the 80 classes of COCO itself."""
    return len(classes) == 80 and {"person", "toothbrush", "hair drier"} <= set(classes)


def names_by_id():
    """A list of COCO's class names with each at the place of its id, and N/A at unused places."""
    return get_model_weights("retinanet_resnet50_fpn").COCO_V1.meta["categories"]


def read_categories(content, path):
    """The categories of one file, as name -> id."""
    categories = {}
    for place, item in enumerate(content["categories"]):
        name = item.get("name")
        number = item.get("id")
        if not isinstance(name, str) or not isinstance(number, (int, str)):
            raise UserError(f"{path}: categories[{place}] has no name or no id")
        if name in categories or number in categories.values():
            raise UserError(
                f"{path}: categories[{place}]: its name or id, {name!r}, is there twice"
            )
        categories[name] = number
    if not categories:
        raise UserError(f"{path}: it lists no categories")
    return categories


def check_categories(known, categories, path):
    """Raise an error if two files give one name two ids, or one id two names."""
    names = {number: name for name, number in known.items()}
    for name, number in categories.items():
        if known.get(name, number) != number or names.get(number, name) != name:
            raise UserError(f"{path}: category {number} {name!r} has another id in another file")


def coco_entries(content, names, folder, file, split, problems):
    """The entries of one annotation file; what cannot be used becomes a problem."""
    path = folder.path(file)
    objects = {}
    for place, image in enumerate(content["images"]):
        number = image.get("id")
        is_id = isinstance(number, (int, str))
        if not is_id or number in objects:
            state = "is there twice" if is_id else "is missing"
            raise UserError(f"{path}: images[{place}]: its id {state}: {str(number)[:40]}")
        objects[number] = []
    for place, item in enumerate(with_progress(content["annotations"], file)):
        image, category = item.get("image_id"), item.get("category_id")
        where = f"{path}: annotations[{place}]"
        try:
            if category not in names:
                raise ValueError(f"no category has the id {str(category)[:40]}")
            if image not in objects:
                raise ValueError(f"no image has the id {str(image)[:40]}")
            objects[image].append(object_of_annotation(item, names[category]))
        except (ValueError, TypeError) as error:
            problems.append(f"{where}: {error}")

    entries = []
    # In a folder beside the file, or one with the name of the split, images are found first.
    beside = f"{parent_of(file)}/{split}/.".lstrip("/")
    for place, image in enumerate(content["images"]):
        try:
            name = image.get("file_name")
            if not isinstance(name, str):
                raise UserError(f"{path}: images[{place}] has no file_name")
            picture = folder.find_image(name, beside, split)
            size = size_of_image(image)
        except UserError as problem:
            problems.append(str(problem))
            continue
        entries.append(Entry(picture, size, image["id"], objects[image["id"]]))
    return entries


def size_of_image(image):
    """(height, width) of an image in the file, or None if they are not whole numbers."""
    size = (image.get("height"), image.get("width"))
    return size if all(type(side) is int and 0 < side < 1 << 31 for side in size) else None


def object_of_annotation(item, name):
    """The Object of an annotation; without a bbox, its box is that around its segmentation."""
    box = item.get("bbox")
    if box is None and isinstance(item.get("segmentation"), list) and item["segmentation"]:
        box = box_around(item["segmentation"])
    if not isinstance(box, (list, tuple)) or len(box) != 4:
        raise ValueError("its bbox is not [left, top, width, height]")
    left, top, width, height = map(to_number, box)
    area = item.get("area")
    area = float(area) if isinstance(area, (int, float)) and 0 < area < 1e12 else None
    ignore = bool(item.get("iscrowd") or item.get("ignore"))
    return Object(left, top, left + width, top + height, name, ignore, area)


def box_around(polygons):
    """(left, top, width, height) of the box around polygons [x, y, x, y, ...]."""
    numbers = [to_number(value) for polygon in polygons for value in polygon]
    x, y = numbers[::2], numbers[1::2]
    return min(x), min(y), max(x) - min(x), max(y) - min(y)
