"""WIDER FACE (http://shuoyang1213.me/WIDERFACE): a text file of image names, counts and so many
faces."""

from data.folder import file_split
from data.images import EXTENSIONS
from data.records import Entry, Object, Source
from data.text import UserError, first_lines, read_text, to_number

FILES = r"(.*/)?wider_face_(train|val)_bbx_gt\.txt"
LAYOUT = "expected wider_face_split/wider_face_train_bbx_gt.txt and WIDER_train/images, val alike"
INVALID = 3  # of the six flags: a face that can hardly be told from the blur around it


def recognise(folder):
    """The files of a folder that are of this format."""
    return folder.of_format(folder.matching(FILES), is_faces)


def is_faces(path):
    """Whether a file begins with an image's name and a count."""
    lines = [line.strip() for line in first_lines(path)]
    return len(lines) > 1 and lines[0].lower().endswith(EXTENSIONS) and lines[1].isdecimal()


def read(folder):
    """One class, face -> Source. Invalid faces are ignored; those of no area are dropped."""
    files = recognise(folder) or folder.matching(FILES)
    if not files:
        raise UserError(f"no wider_face_train_bbx_gt.txt in {folder.root.absolute()}; {LAYOUT}")
    splits, problems = {}, []
    for file in files:
        split, entries = file_split(file), []
        for name, objects in parse_faces(folder.path(file), problems).items():
            try:
                entries.append(Entry(folder.find_image(name, file, split), None, name, objects))
            except UserError as problem:
                problems.append(str(problem))
        splits[split] = entries
    return Source(["face"], splits, fixed_classes=True, problems=problems)


def parse_faces(path, problems):
    """Image name -> its faces.

    An image without faces has a count of 0, then in some releases a line of zeros nevertheless; in
    others a count of 1 and that line.
    """
    lines = read_text(path).splitlines()
    faces, place = {}, 0
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
        faces[name] = [face for i in rows if (face := read_face(lines[i], path, i, problems))]
        place = last
        if count == "0" and place < len(lines) and set(lines[place].split()) == {"0"}:
            place += 1
    return faces


def read_face(line, path, place, problems):
    """The Object of a line; None for a line of zeros, and for a wrong one, which is a problem."""
    try:
        left, top, width, height, *flags = (to_number(word) for word in line.split())
        invalid = flags[INVALID] == 1
    except (IndexError, ValueError):
        what = "not a face: left, top, width, height and six flags"
        problems.append(f"{path}, line {place + 1}: {what}")
        return None
    if not (left or top or width or height):
        return None
    return Object(left, top, left + width, top + height, "face", invalid)
