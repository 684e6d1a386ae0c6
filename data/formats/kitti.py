"""KITTI's object detection (https://www.cvlibs.net/datasets/kitti): a text file for each image."""

from data.folder import stem_of
from data.records import Entry, Object, Source
from data.text import UserError, first_lines, read_lines, to_number

CLASSES = ("Car", "Pedestrian", "Cyclist")
# KITTI's evaluation does not count a detection of these as a mistake: type -> the class.
SIMILAR = {"Van": "Car", "Person_sitting": "Pedestrian"}
TYPES = (*CLASSES, *SIMILAR, "Truck", "Tram", "Misc")
FILES = r"(.*/)?label_2/[^/]*\.txt"
LAYOUT = "expected training/image_2 and training/label_2"


def recognise(folder):
    """The files of a folder that are of this format."""
    return folder.of_format(folder.matching(FILES), is_kitti)


def is_kitti(path):
    """Whether a file begins with a line of a type and fourteen numbers or more."""
    words = " ".join(first_lines(path)[:1]).split()
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        return False
    return len(numbers) >= 14 and words[0].isidentifier()


def read(folder):
    """The Source of training/image_2 and training/label_2; the images in testing have no labels.

    Its classes are Car, Pedestrian and Cyclist, unless the user asks for others. Regions of
    DontCare are ignored for every class.
    """
    # Where the user named the format, files that do not look like it are read and reported.
    found = recognise(folder) or folder.matching(FILES)
    files = [file for file in found if not file.startswith("testing/")]
    if not files:
        raise UserError(f"no KITTI labels in {folder.root.absolute()}; {LAYOUT}")
    entries = []
    problems = []
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
    """The objects of one file. A line holds type, truncation, occlusion, angle, left, top, right,
    bottom, and seven numbers in 3D."""
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
