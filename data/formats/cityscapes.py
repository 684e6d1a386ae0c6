"""Cityscapes (https://www.cityscapes-dataset.com): polygons around everything; we box those of instances."""
import json
from pathlib import Path

from data.errors import UserError
from data.records import pack

CLASSES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
LAYOUT = "expected gtFine/train/*/*_gtFine_polygons.json and leftImg8bit/train/*/*_leftImg8bit.png, val alike"


def read(root, split, names=None):
    """The eight classes that have instances -> classes, records. A group, where nobody counted, is to be ignored."""
    root = Path(root)
    files = sorted((root / "gtFine" / split).glob("*/*_gtFine_polygons.json"))
    if not files:
        raise UserError(f"no polygons in {(root / 'gtFine' / split).absolute()}; {LAYOUT}")
    classes = list(names or CLASSES)
    label = {name: i for i, name in enumerate(classes)}
    entries, problems = [], []
    for path in files:
        city, image = path.parent.name, path.name.removesuffix("_gtFine_polygons.json")
        try:
            content = json.loads(path.read_text())
            objects = [boxed(one, label) for one in content["objects"] if kind(one) in label and not one.get("deleted")]
            size = (content["imgHeight"], content["imgWidth"])
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{path}: not a readable file of polygons ({error})")
            continue
        entries.append((root / "leftImg8bit" / split / city / f"{image}_leftImg8bit.png", size, image, objects))
    return classes, pack(entries, range(1, len(classes) + 1), problems=problems)


def kind(one):
    """An object's class; a group's is that of what it is a group of."""
    return one["label"].removesuffix("group")


def boxed(one, label):
    """The box around a polygon. Its points are pixels, and the last of them belongs to the object, too."""
    x, y = zip(*one["polygon"])
    return min(x), min(y), max(x) + 1, max(y) + 1, label[kind(one)], one["label"].endswith("group")
