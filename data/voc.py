"""PASCAL VOC's format (http://host.robots.ox.ac.uk/pascal/VOC): one xml for each image."""
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path

from data.errors import UserError
from data.images import EXTENSIONS
from data.records import held_out, pack

CLASSES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
           "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")
# What the field trains and tests on: both years' trainval, and the test set whose annotations are public.
OFFICIAL = {"train": (("VOC2007", "trainval"), ("VOC2012", "trainval")), "val": (("VOC2007", "test"),)}
LAYOUT = "expected VOCdevkit/VOC2007 and VOCdevkit/VOC2012, or one folder with Annotations/ and JPEGImages/"


def read(root, split, names=None):
    """VOC2007 + VOC2012, or any one folder with Annotations and JPEGImages -> classes, records."""
    root = Path(root)
    if (root / "Annotations").is_dir():
        listed, notes = listing(root, split)
    else:
        devkit = root / "VOCdevkit" if (root / "VOCdevkit").is_dir() else root
        years = [(devkit / year, name) for year, name in OFFICIAL.get(split, (("VOC2007", split),))]
        present = [(folder, name) for folder, name in years if (folder / "Annotations").is_dir()]
        if not present:
            state = "no VOC annotations in" if root.is_dir() else "no such folder:"
            raise UserError(f"{state} {root.absolute()}; {LAYOUT}; "
                            f"get VOC with: python -m data.download voc --root {root}")
        listed = [(folder, image) for folder, name in present for image in lines(folder / f"ImageSets/Main/{name}.txt")]
        notes = [f"{folder}: not there, left out" for folder, name in years if (folder, name) not in present]

    parsed, problems = [], []
    for folder, image in listed:
        try:
            parsed.append(parse(folder, image))
        except UserError as problem:
            problems.append(str(problem))
    classes = list(names or class_names(parsed, root))
    label = {name: i for i, name in enumerate(classes)}
    entries = [(picture, size, image, [(*one[:4], label[one[4]], one[5]) for one in objects if one[4] in label])
               for picture, size, image, objects in parsed]
    return classes, pack(entries, range(1, len(classes) + 1), notes, problems)


def listing(root, split):
    """The (folder, image name) pairs of a single folder's split, and notes about how they were chosen."""
    sets = root / "ImageSets/Main"
    # A trainval without a val would be judged on what it has learnt, so train goes first.
    for name in (split, "test") if split == "val" else (split,):
        if (sets / f"{name}.txt").is_file():
            return [(root, image) for image in lines(sets / f"{name}.txt")], []
    images = sorted(path.stem for path in (root / "Annotations").glob("*.xml"))
    chosen = [(root, image) for image in images if held_out(image) == (split == "val")]
    return chosen, [f"{sets}/{split}.txt is not there: one image in five is held out for validation"]


def lines(path):
    """The image names of a list; a second column, as the per-class lists have, is not ours."""
    if not path.is_file():
        raise UserError(f"{path}: no such list of images")
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


def class_names(parsed, root):
    """VOC's 20 where no other is found in any annotation of the folder, else those found, by name."""
    found = {one[4] for *_, objects in parsed for one in objects}
    if found <= set(CLASSES):
        return CLASSES
    # A class that only the other split shows has its number, too.
    for path in (root / "Annotations").glob("*.xml"):
        with suppress(UserError):
            found |= {one.findtext("name", "").strip() for one in tree(path).iter("object")}
    return sorted(found)


def tree(path):
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise UserError(f"{path}: no such annotation") from None
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: not valid xml ({error})") from None


def parse(folder, image):
    """One annotation: image path, (height, width), name, objects as (left, top, right, bottom, class name, difficult).

    Coordinates are taken as written. VOC counts pixels from 1, most programs that write its format from 0, and no file
    says which it does; half a pixel is less than annotators agree to.
    """
    path = folder / "Annotations" / f"{image}.xml"
    root = tree(path)
    objects = []
    for number, one in enumerate(root.iter("object"), start=1):
        try:
            corners = [float(one.find("bndbox").findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax")]
            name = one.findtext("name").strip()
        except (AttributeError, TypeError, ValueError):
            raise UserError(f"{path}: object {number} has no readable name or bndbox") from None
        objects.append((*corners, name, (one.findtext("difficult") or "0").strip() == "1"))
    picture = image_file(folder, image, root.findtext("filename"))
    size = tuple(int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width"))
    return picture, size if all(size) else None, image, objects


def image_file(folder, image, filename):
    """The annotation's own picture: of its own name first, for many programs leave a stale <filename> behind."""
    pictures = folder / "JPEGImages"
    for name in [image + extension for extension in EXTENSIONS] + [filename]:
        if name and (pictures / name).is_file():
            return pictures / name
    raise UserError(f"{pictures / image}.jpg: no such image, but {folder / 'Annotations' / image}.xml describes it")
