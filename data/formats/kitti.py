"""KITTI's objects (https://www.cvlibs.net/datasets/kitti): a text file for each image, a line for each object."""
from operator import attrgetter
from pathlib import Path

from data.errors import UserError
from data.records import ANY, pack, parted

CLASSES = ("Car", "Pedestrian", "Cyclist")
# Too like a class to be its background, where they are not classes themselves; so says KITTI's own evaluation.
LIKE = {"Van": "Car", "Person_sitting": "Pedestrian"}
TYPES = (*CLASSES, *LIKE, "Truck", "Tram", "Misc")


def read(root, split, names=None):
    """training/image_2 and training/label_2, one image in five of it held out -> classes, records.

    names chooses among all of KITTI's types; Car, Pedestrian and Cyclist if not given. DontCare is ignored for all.
    """
    folder = Path(root, "training") if Path(root, "training").is_dir() else Path(root)
    labels = sorted((folder / "label_2").glob("*.txt"))
    if not labels:
        raise UserError(f"no KITTI labels in {(folder / 'label_2').absolute()}; expected training/image_2 and label_2")
    classes = list(names or CLASSES)
    unknown = [name for name in classes if name not in TYPES]
    if unknown:
        raise UserError(f"KITTI has no {unknown[0]!r}; it has {', '.join(TYPES)}")
    label, problems = {name: i for i, name in enumerate(classes)}, []
    labels, notes = parted(labels, split, "KITTI's test set has no labels", attrgetter("stem"))
    entries = [(folder / f"image_2/{path.stem}.png", None, path.stem, parse(path, label, problems)) for path in labels]
    return classes, pack(entries, range(1, len(classes) + 1), notes, problems)


def parse(path, label, problems):
    """The objects of one file: type, truncation, occlusion, angle, left, top, right, bottom, and what lies in 3D."""
    objects = []
    for line, text in enumerate(path.read_text().splitlines(), start=1):
        words = text.split()
        try:
            corners = [float(word) for word in words[4:8]]
            left, top, right, bottom = corners
        except ValueError:
            problems.append(f"{path}, line {line}: no left, top, right, bottom in columns 5 to 8")
            continue
        name = words[0]
        if name in label:
            objects.append((*corners, label[name], False))
        elif name == "DontCare":
            objects.append((*corners, ANY, True))
        elif LIKE.get(name) in label:
            objects.append((*corners, label[LIKE[name]], True))
        elif name not in TYPES:
            problems.append(f"{path}, line {line}: {name!r} is not one of {', '.join(TYPES)}")
    return objects
