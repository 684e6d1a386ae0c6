"""COCO's format (https://cocodataset.org/#format-data): a json file for each split."""

import re
from functools import partial

import numpy as np
from pycocotools.mask import frPyObjects, toBbox
from torchvision.models import get_model_weights

from data.checks import MIN_BOXES_TO_JUDGE
from data.folder import by_split, named_parts, parent_of
from data.records import Entry, Object, Source, box_around, box_around_rotated, with_images
from data.splits import file_split
from data.text import UserError, has_keys, is_set, read_head, read_json, to_number, with_progress

LAYOUT = "expected annotations/instances_train2017.json and images in train2017/, val alike"
KEYS = ("images", "annotations", "categories")
# The official files of other tasks, whose images and categories look like those of detection.
OTHER_TASKS = r"(^|/)(person_keypoints|captions|panoptic|stuff|image_info)_[^/]*$"
FILES = r"(.*/)?[^/]*\.json"
# Names by which a file that has lost its keys is still known.
USUAL_FILES = r"(.*/)?(instances_[^/]*|[^/]*coco|train|val)\.json"


def recognise(folder):
    # Each of the lists shows at one end of a file: its key does, or those of its items.
    keys = ("images|file_name", "annotations|image_id", "categories|category_id")
    files = [file for file in folder.matching(FILES) if has_keys(folder.path(file), *keys)]
    others = [file for file in files if re.search(OTHER_TASKS, file)]
    if len(others) < len(files):
        return [file for file in files if file not in others]
    # Keypoints have boxes around them as well.
    return [file for file in others if has_keys(folder.path(file), "bbox", "iscrowd")]


def read(folder):
    """The Source of all files of this format in a folder. The name of a file, or of its folder,
    says which split it is."""
    # Where the user named the format, broken files are read and reported.
    files = recognise(folder) or folder.matching(USUAL_FILES)
    # So is that of a split which is cut short: without it, another split would be trained on.
    others = [file for file in folder.matching(FILES) if file not in files and file_split(file)]
    files += [file for file in others if is_cut_short(folder.path(file))]
    if not files:
        raise UserError(
            f"no COCO annotations in {folder.root.absolute()}; {LAYOUT}; "
            f"get COCO with: python -m tools.download coco --root {folder.root}"
        )
    splits = by_split(files, file_split)
    notes = []
    for split, options in splits.items():
        years = {year: file for file in options for year in re.findall(r"20(?:14|17)", file)}
        # The images of 2014 are those of 2017 in other splits.
        if len(years) == len(options) == 2:
            splits[split] = [years["2017"]]
            notes.append(f"not used: {years['2014']}")
    parts = [(split, folder.path(file), folder, file) for split in splits for file in splits[split]]
    return merge(parts, notes)


def is_cut_short(path):
    """Whether a JSON file has an end that does not close what its start opens."""
    start = read_head(path, 100).lstrip()[:1]
    end = read_head(path, 100, from_end=True).rstrip()[-1:]
    return start + end not in (b"{}", b"[]")


def read_files(annotations, val_annotations=None, images=None, val_images=None):
    """The Source of one or two annotation files and the folders of their images."""
    return merge(named_parts(annotations, val_annotations, images, val_images))


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


def merge(parts, notes=()):
    """The Source of annotation files, (split, path, Folder of images, file) each, whose categories
    must agree."""
    ids = {}
    splits = {}
    notes = list(notes)
    problems = []
    for split, path, folder, file in parts:
        content = load_coco(path)
        names = read_categories(content, path, notes)
        categories = {name: number for number, name in names.items()}
        check_categories(ids, categories, path)
        ids |= categories
        # In a folder beside the file, or one with the name of the split, images are found first.
        beside = f"{parent_of(file)}/{split}/.".lstrip("/")
        find_image = partial(folder.find_image, beside=beside, split=split, path=path)
        entries = coco_entries(content, names, path, problems)
        refuse_corners(entries, path)
        splits[split] = splits.get(split, []) + with_images(entries, find_image, problems)
    # In the order of their ids, which may be numbers in one file and text in another.
    classes = sorted(ids, key=lambda name: (str(type(ids[name])), ids[name]))
    fixed = is_official(classes)
    return Source(classes, splits, ids, fixed, notes=notes, problems=problems)


def is_official(classes):
    """Whether these are the 80 classes of COCO itself."""
    return len(classes) == 80 and {"person", "toothbrush", "hair drier"} <= set(classes)


def names_by_id():
    """A list of COCO's class names with each at the place of its id, and N/A at unused places."""
    return get_model_weights("retinanet_resnet50_fpn").COCO_V1.meta["categories"]


def read_categories(content, path, notes):
    """The categories of one file, as id -> name. Two of one name are one class: Roboflow lists a
    class that is named like its project so."""
    names = {}
    for place, item in enumerate(content["categories"]):
        name = item.get("name")
        number = id_of(item)
        if not isinstance(name, str) or not isinstance(number, (int, str)):
            raise UserError(f"{path}: categories[{place}] has no name or no id")
        if number in names:
            raise UserError(f"{path}: categories[{place}]: its id, {number!r}, is there twice")
        name = name.strip()
        if name in names.values():
            notes.append(f"{path}: two categories are named {name!r} and are one class")
        names[number] = name
    if not names:
        raise UserError(f"{path}: it lists no categories")
    return names


def check_categories(known, categories, path):
    """Raise an error if two files give one name two ids, or one id two names."""
    names = {number: name for name, number in known.items()}
    for name, number in categories.items():
        if known.get(name, number) != number or names.get(number, name) != name:
            raise UserError(f"{path}: category {number} {name!r} has another id in another file")


def id_of(item):
    """The id of an image or a category. pandas writes whole numbers as floats if some are
    missing."""
    number = item.get("id")
    return int(number) if isinstance(number, float) and number.is_integer() else number


def coco_entries(content, names, path, problems):
    """The entries of one annotation file, whose paths are names in it. What cannot be used becomes
    a problem. names: id -> name of each category."""
    entries = {}
    for place, image in enumerate(content["images"]):
        number, name = id_of(image), image.get("file_name")
        is_id = isinstance(number, (int, str))
        if not is_id or number in entries:
            state = "is there twice" if is_id else "is missing"
            raise UserError(f"{path}: images[{place}]: its id {state}: {str(number)[:40]}")
        entries[number] = Entry(name, size_of_image(image), number, [])
        if not isinstance(name, str):
            problems.append(f"{path}: images[{place}] has no file_name")
    for place, item in enumerate(with_progress(content["annotations"], path)):
        image, category = item.get("image_id"), item.get("category_id")
        entry = None
        try:
            image = known_id(image, entries, "image")
            entry = entries[image]
            category = known_id(category, names, "category")
            entry.objects.append(object_of_annotation(item, names[category]))
        except (ValueError, TypeError) as error:
            problems.append(f"{path}: annotations[{place}]: {error}")
            if entry:
                entries[image] = entry._replace(is_complete=False)
    return [entry for entry in entries.values() if isinstance(entry.path, str)]


def known_id(number, known, what):
    """An id that is known; "1" stands for 1, or 1 for "1", where it is not known itself."""
    if number in known:
        return number
    other = int(number) if isinstance(number, str) and number.isdecimal() else str(number)
    if other not in known:
        raise ValueError(f"no {what} has the id {str(number)[:40]}")
    return other


def refuse_corners(entries, path):
    """Raise an error if most boxes were written as corners, which the areas of objects tell."""
    objects = [item for entry in entries for item in entry.objects if item.area][:1000]
    if len(objects) < MIN_BOXES_TO_JUDGE:
        return
    left, top, right, bottom, area = np.array([(*item[:4], item.area) for item in objects]).T
    width, height = right - left, bottom - top
    as_corners = np.isclose((width - left) * (height - top), area, rtol=0.01)
    if (as_corners & ~np.isclose(width * height, area, rtol=0.01)).mean() > 0.5:
        raise UserError(
            f"{path}: its bboxes look like corners, which their areas agree with: write "
            "left, top, width, height"
        )


def size_of_image(image):
    """(height, width) of an image in the file, or None if they are not whole numbers."""
    size = (image.get("height"), image.get("width"))
    return size if all(type(side) is int and 0 < side < 1 << 31 for side in size) else None


def box_of_mask(mask):
    """The bbox of a mask in run-length encoding, whose counts are numbers or compressed."""
    try:
        if isinstance(mask["counts"], list):
            mask = frPyObjects(mask, *mask["size"])
        return toBbox(mask).tolist()
    except (ValueError, TypeError, KeyError, OverflowError):
        raise ValueError("its segmentation is no mask in run-length encoding") from None


def object_of_annotation(item, name):
    """The Object of an annotation; without a bbox, its box is that around its segmentation."""
    box = item.get("bbox")
    polygons = item.get("segmentation")
    if not box and isinstance(polygons, dict):
        box = box_of_mask(polygons)
    if not box and isinstance(polygons, list) and polygons:
        # A single polygon may stand there without the list of polygons around it.
        polygons = polygons if isinstance(polygons[0], list) else [polygons]
        numbers = [to_number(value) for polygon in polygons for value in polygon]
        corners = box_around(numbers[::2], numbers[1::2])
    elif isinstance(box, list) and len(box) == 4:
        left, top, width, height = map(to_number, box)
        corners = (left, top, left + width, top + height)
        attributes = item.get("attributes")
        if isinstance(attributes, dict) and not polygons:
            corners = box_around_rotated(corners, attributes.get("rotation"))
    else:
        raise ValueError("its bbox is not [left, top, width, height]")
    area = item.get("area")
    area = float(area) if isinstance(area, (int, float)) and 0 < area < 1e12 else None
    flags = (item.get("iscrowd"), item.get("ignore"))
    return Object(*corners, name, any(map(is_set, flags)), area)
