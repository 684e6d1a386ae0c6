"""The format of labelme (https://github.com/wkentaro/labelme): a json file for each image."""

from collections import defaultdict

from data.folder import folder_split, stem_of
from data.records import Entry, Object, Source
from data.text import UserError, read_head, read_json, to_number

# The kinds of shapes that have a box around them; a point has none.
KINDS_WITH_BOX = ("rectangle", "polygon", "circle", "linestrip", "line")
FILES = r"(.*/)?[^/]*\.json"
LAYOUT = "expected a json file of shapes beside each image"


def recognise(folder):
    """The files of a folder that are of this format."""
    return folder.of_format(folder.matching(FILES), is_labelme)


def is_labelme(path):
    """Whether a file has the keys of a file of labelme."""
    text = read_head(path, 100_000)
    return b'"shapes"' in text and (b'"imagePath"' in text or b'"imageData"' in text)


def read(folder):
    """The Source of a folder with files of labelme."""
    splits = defaultdict(list)
    problems = []
    # Where the user named the format, files that do not look like it are read and reported.
    for file in recognise(folder) or folder.matching(FILES):
        try:
            splits[folder_split(file) or "all"].append(parse_shapes(folder, file, problems))
        except UserError as problem:
            problems.append(str(problem))
    if not splits:
        raise UserError(f"no labelme files in {folder.root.absolute()}; {LAYOUT}")
    found = {
        item.name for entries in splits.values() for entry in entries for item in entry.objects
    }
    return Source(sorted(found), dict(splits), problems=problems)


def parse_shapes(folder, file, problems):
    """The Entry of one file."""
    path = folder.path(file)
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise UserError(f"{path}: not a labelme file, it has no shapes")
    objects = []
    for place, shape in enumerate(content["shapes"]):
        try:
            objects.append(object_of_shape(shape))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            problems.append(f"{path}: shapes[{place}]: no label, or no points of a box ({error})")
    split = folder_split(file)
    name = str(content.get("imagePath") or stem_of(file))
    picture = folder.find_by_stem(file, split, name)
    if picture is None:
        picture = folder.find_image(name, file, split)
    return Entry(picture, None, stem_of(file), objects)


def object_of_shape(shape):
    """The Object of a shape, as the box around it."""
    name = shape["label"].strip()
    kind = shape.get("shape_type") or "polygon"
    if not name or kind not in KINDS_WITH_BOX:
        raise ValueError(f"{kind} of {name!r}")
    x = [to_number(point[0]) for point in shape["points"]]
    y = [to_number(point[1]) for point in shape["points"]]
    if len(x) < 2:
        raise ValueError(f"{len(x)} points")
    if kind == "circle":
        # Its points are the centre and one on the circle.
        radius = ((x[0] - x[1]) ** 2 + (y[0] - y[1]) ** 2) ** 0.5
        return Object(x[0] - radius, y[0] - radius, x[0] + radius, y[0] + radius, name)
    return Object(min(x), min(y), max(x), max(y), name)
