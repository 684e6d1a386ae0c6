"""WIDER FACE (http://shuoyang1213.me/WIDERFACE): one text file, for each image its name, a count and so many faces."""
from pathlib import Path

from data.errors import UserError
from data.records import pack

LAYOUT = "expected wider_face_split/wider_face_train_bbx_gt.txt and WIDER_train/images, val alike"
INVALID = 3  # of the six flags: a face that can hardly be told from the blur around it


def read(root, split, names=None):
    """One class, face -> classes, records. Invalid faces are to be ignored; those of no area are dropped."""
    path = Path(root, f"wider_face_split/wider_face_{split}_bbx_gt.txt")
    if not path.is_file():
        raise UserError(f"no such file: {path.absolute()}; {LAYOUT}")
    images = Path(root, f"WIDER_{split}/images")
    faces, problems = parse(path)
    entries = [(images / name, None, name, objects) for name, objects in faces.items()]
    return ["face"], pack(entries, [1], problems=problems)


def parse(path):
    """Image name -> faces (left, top, right, bottom, 0, invalid), and what could not be read.

    An image without faces has a count of 0, then in some releases a line of zeros nevertheless; in others a count of 1
    and that line.
    """
    lines = path.read_text().splitlines()
    faces, problems, place = {}, [], 0
    while place < len(lines):
        name, place = lines[place].strip(), place + 1
        if not name:
            continue
        if place == len(lines) or not lines[place].strip().isdigit():
            problems.append(f"{path}, line {place + 1}: no count of faces for {name}")
            continue
        count, place = int(lines[place]), place + 1
        faces[name] = []
        for line in range(place, place + count):
            try:
                left, top, width, height, *flags = (float(word) for word in lines[line].split())
                invalid = flags[INVALID] == 1
            except (IndexError, ValueError):
                problems.append(f"{path}, line {line + 1}: not a face: left, top, width, height and six flags")
                continue
            if left or top or width or height:
                faces[name].append((left, top, left + width, top + height, 0, invalid))
        place += count
        if count == 0 and place < len(lines) and set(lines[place].split()) == {"0"}:
            place += 1
    return faces, problems
