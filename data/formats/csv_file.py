"""pytorch-retinanet's format: a row for each object, `path,x1,y1,x2,y2,class`; `path,,,,,` for an image without any."""
import csv
from pathlib import Path

from data.errors import UserError
from data.records import pack, parted

COLUMNS = ("path", "x1", "y1", "x2", "y2", "class")
LAYOUT = "expected train.csv and, if there are, val.csv and classes.csv"


def read(root, split, names=None):
    """A folder with train.csv; one image in five of it where there is no val.csv -> classes, records."""
    annotations, train = Path(root, f"{split}.csv"), Path(root, "train.csv")
    if not train.is_file():
        state = f"no train.csv in {train.parent.absolute()}" if Path(root).is_dir() else f"no such folder: {root}"
        raise UserError(f"{state}; {LAYOUT}")
    class_list = Path(root, "classes.csv")
    names = names or (read_classes(class_list) if class_list.is_file() else None)
    return read_files(annotations, names) if annotations.is_file() else read_files(train, names, split)


def read_files(annotations, names=None, part=None):
    """One csv, paths relative to it -> classes, records. part, "train" or "val", keeps that part of a file of both."""
    images, problems = {}, []
    for line, row in rows(annotations):
        place = f"{annotations}, line {line}"
        if len(row) != len(COLUMNS):
            problems.append(f"{place}: {len(row)} columns, expected {','.join(COLUMNS)}")
            continue
        *corners, name = (cell.strip() for cell in row[1:])
        objects = images.setdefault(row[0].strip(), [])
        if not any(corners) and not name:
            continue
        try:
            corners = [number(cell, column) for cell, column in zip(corners, COLUMNS[1:])]
        except ValueError as error:
            if line > 1:
                problems.append(f"{place}: {error}")
            else:
                # The first line names the columns.
                images.clear()
            continue
        if names is not None and name not in names:
            problems.append(f"{place}: class {name!r} is not one of {', '.join(names)}")
        else:
            objects.append((*corners, name, False))

    classes = list(names or sorted({one[4] for objects in images.values() for one in objects}))
    label = {name: i for i, name in enumerate(classes)}
    notes, chosen = (), list(images)
    if part:
        chosen, notes = parted(chosen, part, f"{annotations} is the only annotation file")
    folder = Path(annotations).parent
    entries = [(folder / path, None, path, [(*one[:4], label[one[4]], one[5]) for one in images[path]])
               for path in chosen]
    return classes, pack(entries, range(1, len(classes) + 1), notes, problems)


def rows(path):
    """(line number, cells) of each row that is not blank."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            yield from ((reader.line_num, row) for row in reader if row)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None


def number(cell, column):
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"column {column} is {cell!r}, expected a number") from None


def read_classes(path):
    """The names of a list `class,id`, with a header or without, in the order of the ids."""
    named = [(int(row[1]), row[0].strip()) for _, row in rows(path) if len(row) > 1 and row[1].strip().isdigit()]
    if not named:
        raise UserError(f"{path}: no class in it; expected rows of class,id")
    return [name for _, name in sorted(named)]
