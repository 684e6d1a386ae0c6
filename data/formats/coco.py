"""COCO's format (https://cocodataset.org/#format-data): one json for each split, boxes as left, top, width, height."""
import json
import os
from operator import itemgetter
from pathlib import Path

from data.errors import UserError
from data.records import pack, parted

ANNOTATIONS = ("annotations/instances_{}2017.json", "annotations/instances_{}2014.json",
               "annotations/instances_{}.json", "annotations/{}.json", "{}/_annotations.coco.json", "{}.json")
IMAGES = ("{}2017", "images/{}2017", "{}2014", "images/{}2014", "images/{}", "{}", "images", ".")
LAYOUT = "expected annotations/instances_train2017.json and the images in train2017/ or images/train2017/, val alike"


def read(root, split, names=None):
    """A split of a folder in COCO's layout; without a val, one image in five of train -> classes, records."""
    annotations = find(root, ANNOTATIONS, split)
    if annotations:
        return read_files(find(root, IMAGES, split), annotations, names)
    annotations = find(root, ANNOTATIONS, "train")
    if not annotations:
        looked = Path(root).absolute()
        state = "no COCO annotations in" if looked.is_dir() else "no such folder:"
        raise UserError(f"{state} {looked}; {LAYOUT}; get COCO with: python -m tools.download coco --root {root}")
    return read_files(find(root, IMAGES, "train"), annotations, names, split)


def find(root, places, split):
    """The first of these places that exists; val may be called valid, too."""
    words = (split, "valid", "validation") if split == "val" else (split,)
    candidates = (Path(root, place.format(word)) for word in words for place in places)
    return next((path for path in candidates if path.exists()), None)


def read_files(images, annotations, names=None, part=None):
    """One annotation file and the folder of its images -> classes, records.

    names keeps only these classes. part, "train" or "val", keeps that part of a file that holds both.
    """
    content = load(annotations)
    categories = sorted(content["categories"], key=lambda category: category["id"])
    categories = select(categories, names, annotations)
    label = {category["id"]: i for i, category in enumerate(categories)}
    known = {category["id"] for category in content["categories"]}

    objects, problems = {image["id"]: [] for image in content["images"]}, []
    for one in content["annotations"]:
        image, category = one.get("image_id"), one.get("category_id")
        if image not in objects or category not in known:
            kind, number = ("image", image) if image not in objects else ("category", category)
            problems.append(f"{annotations}: annotation {one.get('id')}: no {kind} has the id {number}")
        elif len(one.get("bbox", ())) != 4:
            problems.append(f"{annotations}: annotation {one.get('id')}: its bbox is not left, top, width, height")
        elif category in label:
            left, top, width, height = one["bbox"]
            objects[image].append((left, top, left + width, top + height, label[category],
                                   bool(one.get("iscrowd", 0)), one.get("area")))

    notes, chosen = (), content["images"]
    if part:
        chosen, notes = parted(chosen, part, f"{annotations} is the only annotation file", itemgetter("file_name"))
    folder = os.fspath(images)
    entries = [(os.path.join(folder, image["file_name"]), (image["height"], image["width"]), image["id"],
                objects[image["id"]]) for image in chosen]
    return [category["name"] for category in categories], pack(entries, list(label), notes, problems)


def load(path):
    """The parsed file, if it is one of COCO's kind."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid json ({error})") from None
    missing = [key for key in ("images", "annotations", "categories") if key not in content]
    if missing:
        raise UserError(f"{path}: not a COCO file, it has no {' and no '.join(missing)}")
    return content


def select(categories, names, path):
    """The categories of these names, in the order of the names; all where there are none."""
    if names is None:
        return categories
    by_name = {category["name"]: category for category in categories}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise UserError(f"{path}: no class {unknown[0]!r}; it has {', '.join(by_name)}")
    return [by_name[name] for name in names]
