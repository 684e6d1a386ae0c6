"""KITTI's object detection (https://www.cvlibs.net/datasets/kitti): a text file for each image."""

from data.folder import stem_of
from data.records import Entry, Object, Source, read_entries
from data.text import first_lines, read_lines, to_number

CLASSES = ("Car", "Pedestrian", "Cyclist")
# KITTI's evaluation does not count a detection of these as a mistake: type -> the class.
SIMILAR = {"Van": "Car", "Person_sitting": "Pedestrian"}
OTHERS = (*SIMILAR, "Truck", "Tram", "Misc")
TYPES = (*CLASSES, *OTHERS)
# The images in testing have no labels.
FILES = r"(?!testing/)(.*/)?label_2/[^/]*\.txt"
LAYOUT = "expected training/image_2 and training/label_2"


def recognise(folder):
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
    """The Source of training/image_2 and training/label_2.

    Its classes are Car, Pedestrian and Cyclist, unless the user asks for others. Regions of
    DontCare are ignored for every class.
    """
    files = folder.annotations(FILES, is_kitti, "KITTI labels", LAYOUT)
    problems = []
    splits = read_entries(folder, dict(all=files), parse_labels, problems)
    return Source(
        list(CLASSES),
        splits,
        fixed_classes=True,
        other_classes=OTHERS,
        problems=problems,
    )


def parse_labels(folder, file, problems):
    """The Entry of one file. A line holds type, truncation, occlusion, angle, left, top, right,
    bottom, and seven numbers in 3D."""
    path = folder.path(file)
    objects = []
    for line, text in read_lines(path):
        name, *words = text.split()
        try:
            left, top, right, bottom = map(to_number, words[3:7])
        except ValueError:
            problems.append(f"{path}, line {line}: no left, top, right, bottom in columns 5 to 8")
            continue
        if name == "DontCare":
            objects.append(Object(left, top, right, bottom, None, ignore=True))
        elif name in TYPES:
            similar = SIMILAR.get(name)
            objects.append(Object(left, top, right, bottom, name, similar=similar))
        else:
            problems.append(f"{path}, line {line}: {name!r} is not one of {', '.join(TYPES)}")
    return Entry(folder.find_by_stem(file), None, stem_of(file), objects)
