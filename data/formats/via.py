"""VIA, the VGG Image Annotator (https://www.robots.ox.ac.uk/~vgg/software/via/): a json or csv file
for many images."""

import json
import math
from collections import Counter, defaultdict
from functools import partial

from data.formats.csv_file import rows
from data.records import (
    Entry,
    Object,
    Source,
    box_around,
    object_names,
    with_images,
)
from data.splits import file_split
from data.text import UserError, count_note, has_keys, read_head, read_json, to_number

LAYOUT = "expected a json or csv file as VIA saves its annotations"
CSV_SHAPE, CSV_CLASS = "region_shape_attributes", "region_attributes"
UNNAMED = "object"  # the class where no region has an attribute


def recognise(folder):
    return [
        file for file in folder.matching(r"(.*/)?[^/]*\.(json|csv)") if is_via(folder.path(file))
    ]


def is_via(path):
    if is_csv(path):
        return CSV_SHAPE.encode() in read_head(path, 1000)
    return has_keys(path, "shape_attributes", "region_attributes")


def is_csv(path):
    return path.lower().endswith(".csv")


def read(folder):
    """The Source of all files of this format in a folder.

    The class of a region is the value of its attribute; of several attributes, of the one that most
    regions have.
    """
    images = {file: load_images(folder.path(file)) for file in recognise(folder)}
    if not images:
        raise UserError(f"no VIA annotations in {folder.root.absolute()}; {LAYOUT}")
    notes, problems, points = [], [], []
    attribute = class_attribute(images.values(), notes)
    splits = defaultdict(list)
    for file, regions_of in images.items():
        path = folder.path(file)
        split = file_split(file) or "all"
        entries = []
        for name, regions in regions_of.items():
            num_problems = len(problems)
            objects = objects_of_regions(regions, attribute, f"{path}: {name}", problems, points)
            entries.append(Entry(name, None, name, objects, len(problems) == num_problems))
        find_image = partial(folder.find_image, beside=file, split=split, path=path)
        splits[split] += with_images(entries, find_image, problems)
    notes += count_note("not used: shapes that are points", points)
    return Source(object_names(splits), dict(splits), notes=notes, problems=problems)


def load_images(path):
    """The regions of one file, (shape, attributes) each: name of an image -> its regions."""
    images = defaultdict(list)
    try:
        for name, regions in rows_of_csv(path) if is_csv(path) else images_of_json(path):
            images[str(name)] += [(dict(shape), dict(attributes)) for shape, attributes in regions]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable file of VIA ({str(error)[:80]})") from None
    return images


def images_of_json(path):
    """Yield the name of each image and its regions."""
    content = read_json(path)
    for image in content.get("_via_img_metadata", content).values():
        regions = image["regions"]
        # VIA 1 numbers the regions.
        regions = regions.values() if isinstance(regions, dict) else regions
        parts = [(region["shape_attributes"], region["region_attributes"]) for region in regions]
        yield image["filename"], parts


def rows_of_csv(path):
    """Yield the name of each row's image and a list of its region, which may be empty."""
    (_, header), *others = rows(path)
    for _, row in others:
        cells = dict(zip(header, row))
        shape, attributes = json.loads(cells[CSV_SHAPE]), json.loads(cells[CSV_CLASS])
        yield row[0], [(shape, attributes)] if shape else []


def class_attribute(files, notes):
    """The attribute that most regions have, or None if they have none; a note if there are more."""
    counts = Counter(
        name
        for images in files
        for regions in images.values()
        for _, attributes in regions
        for name, value in attributes.items()
        if value
    )
    if not counts:
        notes.append(f"no region has an attribute, so all are of one class, {UNNAMED}")
        return None
    (first, _), *others = counts.most_common()
    if others:
        left_out = ", ".join(name for name, _ in others)
        notes.append(f"classes are the values of {first!r}; other attributes: {left_out}")
    return first


def objects_of_regions(regions, attribute, where, problems, points):
    """The Objects of an image's regions. What cannot be used becomes a problem; points gets where
    for each point."""
    objects = []
    for place, (shape, attributes) in enumerate(regions):
        try:
            if shape["name"] == "point":
                points.append(where)
                continue
            name = UNNAMED if attribute is None else attributes.get(attribute)
            # A checkbox has several values, of which those that are true are meant.
            chosen = [key for key in name if name[key]] if isinstance(name, dict) else [name]
            if len(chosen) != 1 or not isinstance(chosen[0], str) or not chosen[0].strip():
                raise ValueError(f"its {attribute} is not one name")
            objects.append(Object(*box_of_shape(shape), chosen[0].strip()))
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{where}, region {place}: {error}")
    return objects


def box_of_shape(shape):
    """The corners of the box around a shape."""
    kind = shape["name"]
    if kind == "rect":
        left, top, width, height = (to_number(shape[key]) for key in ("x", "y", "width", "height"))
        return left, top, left + width, top + height
    if kind in ("polygon", "polyline"):
        return box_around(*(list(map(to_number, shape[f"all_points_{axis}"])) for axis in "xy"))
    if kind not in ("circle", "ellipse"):
        raise ValueError(f"{kind!r} is no shape that is known")
    x, y = to_number(shape["cx"]), to_number(shape["cy"])
    radii = [to_number(shape[key]) for key in (("rx", "ry") if kind == "ellipse" else ("r", "r"))]
    angle = to_number(shape.get("theta", 0))
    half_width = math.hypot(radii[0] * math.cos(angle), radii[1] * math.sin(angle))
    half_height = math.hypot(radii[0] * math.sin(angle), radii[1] * math.cos(angle))
    return x - half_width, y - half_height, x + half_width, y + half_height
