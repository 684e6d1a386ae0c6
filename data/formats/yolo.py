"""YOLO's format: a text file for each image, for each object a line `class cx cy w h`, shares of the image's sides."""
from pathlib import Path

import yaml

from data.errors import UserError
from data.images import image_files, image_size
from data.records import pack, parted

SETTINGS = ("data.yaml", "dataset.yaml")
LAYOUT = "expected images/train and labels/train (val alike), or images and labels, and data.yaml or classes.txt"


def read(root, split, names=None):
    """images/train with labels/train, or one folder of each, split for validation -> classes, records.

    Class names are those of data.yaml, classes.txt or obj.names; data.yaml may say where the images are, too.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"no such folder: {root.absolute()}; {LAYOUT}")
    known, places = class_names(root), images_of(root)
    label = {known.index(name): i for i, name in enumerate(names or known) if name in known}
    own = places.get(split)
    files = files_of(own or places.get("train") or root / "images")
    notes = []
    if not own:
        files, notes = parted(files, split, f"{root} has no {split} images of its own", lambda file: Path(file).stem)
    if not files:
        raise UserError(f"no {split} images in {root.absolute()}; {LAYOUT}")
    entries, problems = [], []
    for file in files:
        try:
            size = image_size(file)
            entries.append((file, size, Path(file).stem, parse(label_file(file), size, label, known, problems)))
        except UserError as problem:
            problems.append(str(problem))
    return list(names or known), pack(entries, range(1, len(label) + 1), notes, problems)


def class_names(root):
    """The names in the order of their numbers."""
    for name in SETTINGS:
        if (root / name).is_file():
            names = settings(root / name).get("names", [])
            return [str(one) for one in (map(names.get, sorted(names)) if isinstance(names, dict) else names)]
    for name in ("classes.txt", "obj.names", "labels/classes.txt", "data/obj.names"):
        if (root / name).is_file():
            return [line.strip() for line in (root / name).read_text().splitlines() if line.strip()]
    raise UserError(f"no class names in {root.absolute()}: no data.yaml, classes.txt or obj.names")


def settings(path):
    try:
        return yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid yaml ({' '.join(str(error).split())})") from None


def images_of(root):
    """Where each split's images are: a folder or a list of files, by the split's name."""
    places = {}
    given = next((settings(root / name) for name in SETTINGS if (root / name).is_file()), {})
    for split, words in (("train", ("train",)), ("val", ("val", "valid")), ("test", ("test",))):
        own = given.get(split)
        # Exporters write paths relative to a folder above the one the user has.
        candidates = [root / own, root / own.lstrip("./")] if isinstance(own, str) else []
        candidates += [root / place.format(word) for word in words for place in ("images/{}", "{}/images", "{}.txt")]
        found = next((path for path in candidates if path.exists()), None)
        places |= {split: found} if found else {}
    return places


def files_of(place):
    """The images of a folder, or of a list that may name them relative to a folder above its own."""
    if not place.is_file():
        return image_files(place)
    names = [Path(line.strip()) for line in place.read_text().splitlines() if line.strip()]
    tries = [(place.parent / name, place.parent / Path(*name.parts[1:])) for name in names]
    return [str(below if below.is_file() else path) for path, below in tries]


def label_file(image):
    """labels/... for images/..., the same name with .txt; beside the image where there is no such folder."""
    beside, parts = Path(image).with_suffix(".txt"), list(Path(image).parts)
    if "images" not in parts[:-1] or beside.is_file():
        return beside
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def parse(path, size, label, known, problems):
    """The objects of one file; an image without a file has none. Of a polygon, class x y x y ..., it is the box."""
    height, width = size
    objects = []
    lines = path.read_text().splitlines() if path.is_file() else []
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            number, *shares = (float(word) for word in text.split())
            x, y, w, h = shares[:4]
            corners = around(shares) if len(shares) > 5 else (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        except ValueError:
            problems.append(f"{path}, line {line}: expected class cx cy w h, found {text.strip()!r}")
            continue
        if not 0 <= number < len(known):
            problems.append(f"{path}, line {line}: class {number:g}, but there are {len(known)} names")
        elif int(number) in label:
            corners = (share * side for share, side in zip(corners, (width, height) * 2))
            objects.append((*corners, label[int(number)], False))
    return objects


def around(points):
    """The box around a polygon's points, x and y in turn."""
    x, y = points[::2], points[1::2]
    return min(x), min(y), max(x), max(y)
