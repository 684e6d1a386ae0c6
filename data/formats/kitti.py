"""KITTI's objects (https://www.cvlibs.net/datasets/kitti): a text file for each image, a line for
each object."""

from data.folder import stem_of
from data.records import Entry, Object, Source
from data.text import UserError, first_lines, read_lines, to_number

CLASSES = ("Car", "Pedestrian", "Cyclist")
# Too like a class to be its background where they are no classes themselves: KITTI's evaluation.
SIMILAR = {"Van": "Car", "Person_sitting": "Pedestrian"}
TYPES = (*CLASSES, *SIMILAR, "Truck", "Tram", "Misc")
FILES = r"(.*/)?label_2/[^/]*\.txt"
LAYOUT = "expected training/image_2 and training/label_2"


def recognise(folder):
    """The files of a folder that are of this format."""
    return folder.of_format(folder.matching(FILES), is_kitti)


def is_kitti(path):
    """Whether a file begins with a line of a type and at least fourteen numbers."""
    words = " ".join(first_lines(path)[:1]).split()
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        return False
    return len(numbers) >= 14 and words[0].isidentifier()


def read(folder):
    """training/image_2 and training/label_2 -> Source. KITTI's own test set has no labels.

    Car, Pedestrian and Cyclist, unless other types are asked for. DontCare is ignored for all.
    """
    found = recognise(folder) or folder.matching(FILES)
    files = [file for file in found if not file.startswith("testing/")]
    if not files:
        raise UserError(f"no KITTI labels in {folder.root.absolute()}; {LAYOUT}")
    entries, problems = [], []
    for file in files:
        objects = read_objects(folder.path(file), problems)
        picture = folder.find_by_stem(file)
        if picture is None:
            problems.append(f"{folder.path(file)}: no image has its name")
            continue
        entries.append(Entry(picture, None, stem_of(file), objects))
    others = tuple(name for name in TYPES if name not in CLASSES)
    return Source(
        list(CLASSES),
        dict(all=entries),
        fixed_classes=True,
        other_classes=others,
        similar=SIMILAR,
        problems=problems,
    )


def read_objects(path, problems):
    """The objects of one file: type, truncation, occlusion, angle, four corners, and more in 3D."""
    objects = []
    for line, text in read_lines(path):
        name, *words = text.split()
        try:
            corners = [to_number(word) for word in words[3:7]]
            if len(corners) < 4:
                raise ValueError("too few columns")
        except ValueError:
            problems.append(f"{path}, line {line}: no left, top, right, bottom in columns 5 to 8")
            continue
        if name == "DontCare":
            objects.append(Object(*corners, None, True))
        elif name in TYPES:
            objects.append(Object(*corners, name))
        else:
            problems.append(f"{path}, line {line}: {name!r} is not one of {', '.join(TYPES)}")
    return objects
