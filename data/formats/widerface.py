"""WIDER FACE (http://shuoyang1213.me/WIDERFACE): a text file of all images and faces of a split."""

from functools import partial

from data.images import EXTENSIONS
from data.records import Entry, Object, Source, with_images
from data.splits import file_split
from data.text import first_lines, read_text, to_number

FILES = r"(.*/)?wider_face_(train|val)_bbx_gt\.txt"
LAYOUT = "expected wider_face_split/wider_face_train_bbx_gt.txt and WIDER_train/images, val alike"
# The place, among the six flags of a face, of "invalid": too blurred to be recognised.
INVALID_FLAG = 3


def recognise(folder):
    return folder.of_format(folder.matching(FILES), is_faces)


def is_faces(path):
    """Whether a file begins with the name of an image and a count."""
    lines = [line.strip() for line in first_lines(path)]
    return len(lines) > 1 and lines[0].lower().endswith(EXTENSIONS) and lines[1].isdecimal()


def read(folder):
    """The Source of WIDER FACE, which has one class; invalid faces are ignored."""
    splits = {}
    problems = []
    for file in folder.annotations(FILES, is_faces, "lists of faces", LAYOUT):
        split = file_split(file)
        faces = parse_faces(folder.path(file), problems)
        find_image = partial(folder.find_image, beside=file, split=split)
        splits[split] = with_images(faces, find_image, problems)
    return Source(["face"], splits, fixed_classes=True, problems=problems)


def parse_faces(path, problems):
    """The entries of one list, whose paths are names in it.

    Each image has a line with its name, one with a count, and as many lines of faces. An image
    without faces has a count of 0, which in some releases is followed by a line of zeros all the
    same; in others it has a count of 1 and the line of zeros.
    """
    lines = read_text(path).splitlines()
    entries = []
    place = 0
    while place < len(lines):
        name = lines[place].strip()
        place += 1
        if not name:
            continue
        count = lines[place].strip() if place < len(lines) else ""
        if not count.isdecimal() or int(count) > len(lines) - place - 1:
            problems.append(f"{path}, line {place + 1}: no count of faces for {name[:80]}")
            continue
        place += 1
        last = place + int(count)
        rows = range(place, last)
        num_problems = len(problems)
        faces = [face for i in rows if (face := read_face(lines[i], path, i, problems))]
        entries.append(Entry(name, None, name, faces, len(problems) == num_problems))
        place = last
        if count == "0" and place < len(lines) and set(lines[place].split()) == {"0"}:
            place += 1
    return entries


def read_face(line, path, place, problems):
    """The Object of a line, or None: a line of zeros is no face, and a wrong one is a problem."""
    try:
        left, top, width, height, *flags = (to_number(word) for word in line.split())
        is_invalid = flags[INVALID_FLAG] == 1
    except (IndexError, ValueError):
        what = "not a face: left, top, width, height and six flags"
        problems.append(f"{path}, line {place + 1}: {what}")
        return None
    if not (left or top or width or height):
        return None
    return Object(left, top, left + width, top + height, "face", is_invalid)
