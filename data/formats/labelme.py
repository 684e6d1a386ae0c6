"""The format of labelme (https://github.com/wkentaro/labelme): a json file for each image."""

from functools import partial

from data.folder import by_split, stem_of
from data.records import Entry, Object, Source, box_around, object_names, read_entries
from data.splits import folder_split
from data.text import UserError, count_note, has_keys, read_json, to_number

# The kinds of shapes that have no box around them.
POINTS = ("point", "points")
FILES = r"(.*/)?[^/]*\.json"
LAYOUT = "expected a json file of shapes beside each image"


def recognise(folder):
    return folder.of_format(folder.matching(FILES), is_labelme)


def is_labelme(path):
    return has_keys(path, "shapes", "imagePath|imageData")


def read(folder):
    files = folder.annotations(FILES, is_labelme, "labelme files", LAYOUT)
    problems = []
    points = []
    parse = partial(parse_shapes, points=points)
    splits = read_entries(folder, by_split(files, folder_split), parse, problems)
    notes = count_note("not used: shapes that are points", points)
    return Source(object_names(splits), splits, notes=notes, problems=problems)


def parse_shapes(folder, file, problems, points):
    """The Entry of one file. points gets its path for each shape that is a point."""
    path = folder.path(file)
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise UserError(f"{path}: not a labelme file, it has no shapes")
    objects = []
    for place, shape in enumerate(content["shapes"]):
        try:
            if shape.get("shape_type") in POINTS:
                points.append(path)
            else:
                objects.append(object_of_shape(shape))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            problems.append(f"{path}: shapes[{place}]: no label, or no points of a box ({error})")
    try:
        picture = folder.find_by_stem(file, str(content.get("imagePath") or ""))
    except UserError:
        if not content.get("imageData"):
            raise
        # The picture is in the file itself.
        picture = path
    return Entry(picture, None, stem_of(file), objects)


def object_of_shape(shape):
    """The Object of a shape, as the box around it."""
    name = shape["label"].strip()
    kind = shape.get("shape_type") or "polygon"
    if not name:
        raise ValueError(f"{kind} without a name")
    x, y = zip(*((to_number(point[0]), to_number(point[1])) for point in shape["points"]))
    if len(x) < 2:
        raise ValueError(f"{len(x)} points")
    if kind == "circle":
        # Its points are the centre and one on the circle.
        radius = ((x[0] - x[1]) ** 2 + (y[0] - y[1]) ** 2) ** 0.5
        return Object(x[0] - radius, y[0] - radius, x[0] + radius, y[0] + radius, name)
    return Object(*box_around(x, y), name)
