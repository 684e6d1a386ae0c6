"""Cityscapes (https://www.cityscapes-dataset.com): a json file of polygons for each image."""

from collections import defaultdict

from data.folder import folder_split
from data.records import Entry, Object, Source
from data.text import UserError, read_head, read_json, to_number

# The classes whose objects are annotated one by one; road, sky and the like have no boxes.
CLASSES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
FILES = r"(.*/)?[^/]*_polygons\.json"
LAYOUT = "expected gtFine/train/*/*_gtFine_polygons.json and leftImg8bit/train/*/*.png, val alike"


def recognise(folder):
    """The files of a folder that are of this format."""
    return folder.of_format(folder.matching(FILES), is_polygons)


def is_polygons(path):
    """Whether a file has the keys of a file of polygons."""
    text = read_head(path, 100_000)
    return b'"imgHeight"' in text and b'"objects"' in text


def read(folder):
    """The Source of a folder in the format of Cityscapes.

    A group, such as persons who are not told apart, is to be ignored.
    """
    # Where the user named the format, files that do not look like it are read and reported.
    found = recognise(folder) or folder.matching(FILES)
    # gtCoarse has rough polygons of images most of which gtFine does not have.
    files = [file for file in found if "Coarse" not in file]
    if not files:
        raise UserError(f"no polygons in {folder.root.absolute()}; {LAYOUT}")
    splits = defaultdict(list)
    problems = []
    for file in files:
        try:
            entry = parse_polygons(folder, file)
        except UserError as problem:
            problems.append(str(problem))
            continue
        splits[folder_split(file) or "all"].append(entry)
    return Source(list(CLASSES), dict(splits), fixed_classes=True, problems=problems)


def parse_polygons(folder, file):
    """The Entry of one file."""
    path = folder.path(file)
    content = read_json(path)
    try:
        size = (int(content["imgHeight"]), int(content["imgWidth"]))
        objects = [
            object_of_polygon(item)
            for item in content["objects"]
            if item["label"].removesuffix("group") in CLASSES and not item.get("deleted")
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path}: not a readable file of polygons ({error})") from None
    name = file.rsplit("/", 1)[-1].removesuffix("_polygons.json").rsplit("_", 1)[0]
    picture = folder.find_image(f"{name}_leftImg8bit.png", file, folder_split(file))
    return Entry(picture, size, name, objects)


def object_of_polygon(item):
    """The Object of a polygon, as the box around it."""
    x = [to_number(point[0]) for point in item["polygon"]]
    y = [to_number(point[1]) for point in item["polygon"]]
    name = item["label"].removesuffix("group")
    is_group = item["label"].endswith("group")
    # Points are whole pixels, and the last pixel belongs to the object.
    return Object(min(x), min(y), max(x) + 1, max(y) + 1, name, is_group)
