"""Cityscapes (https://www.cityscapes-dataset.com): a json file of polygons for each image."""

from data.folder import by_split
from data.records import Entry, Object, Source, box_around, read_entries
from data.splits import folder_split
from data.text import UserError, has_keys, read_json, to_number

# The classes whose objects are annotated one by one; road, sky and the like have no boxes.
CLASSES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
FINE = r"(?!.*Coarse)(.*/)?[^/]*_polygons\.json"
# gtCoarse has rough polygons, of images most of which gtFine does not have.
COARSE = r"(.*/)?[^/]*_polygons\.json"
LAYOUT = "expected gtFine/train/*/*_gtFine_polygons.json and leftImg8bit/train/*/*.png, val alike"


def recognise(folder):
    return folder.of_format(folder.matching(pattern(folder)), is_polygons)


def pattern(folder):
    """What the names of the files to read match."""
    return FINE if folder.matching(FINE) else COARSE


def is_polygons(path):
    return has_keys(path, "imgHeight", "objects")


def read(folder):
    """The Source of a folder in the format of Cityscapes.

    Rough polygons are only read where there are no others. A group, such as persons who are not
    told apart, is to be ignored.
    """
    files = folder.annotations(pattern(folder), is_polygons, "polygons", LAYOUT)
    problems = []
    splits = read_entries(folder, by_split(files, folder_split), parse_polygons, problems)
    return Source(list(CLASSES), splits, fixed_classes=True, problems=problems)


def parse_polygons(folder, file, problems):
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
    x, y = zip(*((to_number(point[0]), to_number(point[1])) for point in item["polygon"]))
    left, top, right, bottom = box_around(x, y)
    name = item["label"].removesuffix("group")
    # Points are whole pixels, and the last pixel belongs to the object.
    return Object(left, top, right + 1, bottom + 1, name, name != item["label"])
