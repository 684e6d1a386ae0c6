"""PASCAL VOC's format (http://host.robots.ox.ac.uk/pascal/VOC): one xml for each image."""
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

from data.errors import UserError
from data.images import EXTENSIONS
from data.records import pack, parted

CLASSES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
           "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")
# What the field trains and tests on: both years' trainval, and the test set whose annotations are public.
OFFICIAL = {"train": (("VOC2007", "trainval"), ("VOC2012", "trainval")), "val": (("VOC2007", "test"),)}
LAYOUT = ("expected VOCdevkit/VOC2007 and VOCdevkit/VOC2012, or one folder with Annotations/ and JPEGImages/, or with "
          "each xml beside its image")


def read(root, split, names=None):
    """VOC2007 + VOC2012, or any one folder of annotations and images -> classes, records."""
    root = Path(root)
    devkit = root / "VOCdevkit" if (root / "VOCdevkit").is_dir() else root
    listed, notes = official(devkit, split) if any(devkit.glob("VOC*/Annotations")) else listing(root, split)
    parsed, problems = [], []
    for path in listed:
        try:
            parsed.append(parse(path))
        except UserError as problem:
            problems.append(str(problem))
    classes = list(names or class_names(parsed, root))
    label = {name: i for i, name in enumerate(classes)}
    entries = [(picture, size, image, [(*one[:4], label[one[4]], one[5]) for one in objects if one[4] in label])
               for picture, size, image, objects in parsed]
    return classes, pack(entries, range(1, len(classes) + 1), notes, problems)


def official(devkit, split):
    """The annotations of both years' split, and notes about what is not there."""
    lists = [devkit / year / f"ImageSets/Main/{name}.txt" for year, name in OFFICIAL.get(split, (("VOC2007", split),))]
    present = [path for path in lists if path.is_file()]
    if not present:
        raise UserError(f"{lists[0]}: no such list of images; {LAYOUT}")
    notes = [f"{path}: not there, left out" for path in lists if path not in present]
    return [annotation for path in present for annotation in listed_in(path)], notes


def listing(root, split):
    """The annotations of a single folder's split, and notes about how they were chosen."""
    sets = root / "ImageSets/Main"
    # A trainval without a val would be judged on what it has learnt, so train goes first.
    for name in (split, "test") if split == "val" else (split,):
        if (sets / f"{name}.txt").is_file():
            return listed_in(sets / f"{name}.txt"), []
    own = dict(train=sorted(root.glob("train/*.xml")), val=sorted([*root.glob("val/*.xml"), *root.glob("valid/*.xml")]))
    if split in own and all(own.values()):
        return own[split], []
    found = sorted(root.glob("[Aa]nnotations/*.xml")) or own["train"] or sorted(root.glob("*.xml"))
    if not found:
        state = "no VOC annotations in" if root.is_dir() else "no such folder:"
        raise UserError(f"{state} {root.absolute()}; {LAYOUT}; get VOC with: python -m tools.download voc --root {root}")
    return parted(found, split, f"{sets}/{split}.txt is not there", attrgetter("stem"))


def listed_in(path):
    """The annotations that a list names; a second column, as the per-class lists have, is not ours."""
    names = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    return [path.parents[2] / f"Annotations/{name}.xml" for name in names]


def class_names(parsed, root):
    """VOC's 20 where no other is found in any annotation of the folder, else those found, by name."""
    found = {one[4] for *_, objects in parsed for one in objects}
    if found <= set(CLASSES):
        return CLASSES
    # A class that only the other split shows has its number, too.
    for path in root.rglob("*.xml"):
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


def parse(path):
    """One annotation: image path, (height, width), name, objects as (left, top, right, bottom, class name, difficult).

    Coordinates are taken as written. VOC counts pixels from 1, most programs that write its format from 0, and no file
    says which it does; half a pixel is less than annotators agree to.
    """
    root = tree(path)
    objects = []
    for number, one in enumerate(root.iter("object"), start=1):
        try:
            corners = [float(one.find("bndbox").findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax")]
            name = one.findtext("name").strip()
        except (AttributeError, TypeError, ValueError):
            raise UserError(f"{path}: object {number} has no readable name or bndbox") from None
        objects.append((*corners, name, (one.findtext("difficult") or "0").strip() == "1"))
    picture = image_file(path, root.findtext("filename"))
    size = tuple(int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width"))
    return picture, size if all(size) else None, path.stem, objects


def image_file(path, filename):
    """The annotation's own picture: of its own name first, for many programs leave a stale <filename> behind."""
    names = [path.stem + extension for extension in EXTENSIONS] + [filename]
    folders = (path.parents[1] / "JPEGImages", path.parents[1] / "images", path.parent)
    for picture in (folder / name for folder in folders for name in names if name):
        if picture.is_file():
            return picture
    place = next(folder for folder in folders if folder.is_dir())
    raise UserError(f"{place / path.stem}.jpg: no such image, but {path} describes it")
