"""Csv files with a row for each object: `path,x1,y1,x2,y2,class`, or as a header says.

A row `path,,,,,` stands for an image without objects.
"""

import csv
import os
import re
from collections import Counter, defaultdict
from functools import partial

from data.folder import named_parts
from data.images import EXTENSIONS
from data.records import Entry, Object, Source, object_names, with_images
from data.splits import file_split
from data.text import UserError, first_lines, read_text, to_number

# The names of the columns, and those that other programs give to them.
COLUMNS = {
    "path": ("path", "filename", "file_name", "image", "image_path", "image_name", "img", "file",
             "image_id"),
    "x1": ("x1", "xmin", "x_min", "left", "x", "bbox_x"),
    "y1": ("y1", "ymin", "y_min", "top", "y", "bbox_y"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "class": ("class", "label", "class_name", "label_name", "category", "name"),
}  # fmt: skip
# The size of a box, where there are no x2 and y2.
BOX_SIZE = {"w": ("w", "bbox_width", "width"), "h": ("h", "bbox_height", "height")}
# The size of the image, which columns of boxes may come with.
IMAGE_SIZE = {"width": ("image_width", "width"), "height": ("image_height", "height")}
LAYOUT = "expected train.csv of path,x1,y1,x2,y2,class, and perhaps val.csv and classes.csv"


def recognise(folder):
    return [
        file for file in folder.matching(r"(.*/)?[^/]*\.(csv|tsv)") if is_boxes(folder.path(file))
    ]


def is_boxes(path):
    """Whether a file has the columns of boxes, by its first row."""
    first = split_cells(first_lines(path), path)[:1]
    return any(header_of(row) or is_box_row(row) for _, row in first)


def is_box_row(row):
    """Whether a row has as many columns as that of a box, and begins with the name of an image."""
    return len(row) == len(COLUMNS) and row[0].strip().lower().endswith(EXTENSIONS)


def read(folder):
    """The Source of all csv files of boxes in a folder. The name of a file, or of its folder, says
    which split it is."""
    files = recognise(folder)
    if not files:
        raise UserError(f"no csv of boxes in {folder.root.absolute()}; {LAYOUT}")
    lists = folder.matching(r"(.*/)?(classes|class_list|class|labels)\.csv")
    lists = [file for file in lists if file not in files]
    names = read_classes(folder.path(lists[0])) if lists else None
    parts = [(file_split(file) or "all", folder.path(file), folder, file) for file in files]
    return build_source(parts, names)


def read_files(annotations, val_annotations=None, images="", val_images="", class_list=None):
    """The Source of one or two csv files. Paths in them are relative to the file, or to images and
    val_images, folders of images."""
    names = read_classes(class_list) if class_list else None
    return build_source(named_parts(annotations, val_annotations, images, val_images), names)


def build_source(parts, names):
    """The Source of some csv files, (split, path, Folder of images, path relative to it) each."""
    splits = defaultdict(list)
    notes = []
    problems = []
    for split, path, folder, file in parts:
        find_image = partial(image_path, folder, file, split, path)
        splits[split] += with_images(
            csv_entries(path, names, notes, problems), find_image, problems
        )
    return Source(names or object_names(splits), dict(splits), notes=notes, problems=problems)


def csv_entries(path, names, notes, problems):
    """The entries of one csv file, whose paths are names in it. A row that cannot be used becomes
    a problem."""
    columns = None
    entries = {}
    for line, row in rows(path):
        if columns is None:
            columns = header_of(row)
            if columns and "w" in columns:
                notes.append(f"{path}: {','.join(row)}: boxes are left, top, width, height")
            if columns:
                continue
            refuse_header(row, path)
            columns = {name: place for place, name in enumerate(COLUMNS)}
        cells = {name: (row[place : place + 1] or [""])[0] for name, place in columns.items()}
        cells = {name: cell.strip() for name, cell in cells.items()}
        name = cells.pop("path")
        entry = entries.setdefault(name, Entry(name, size_of_cells(cells), name, []))
        try:
            if len(row) <= max(columns.values()):
                raise ValueError(f"{len(row)} columns, expected {','.join(COLUMNS)}")
            if any(cells[column] for column in cells.keys() - IMAGE_SIZE):
                entry.objects.append(object_of_cells(cells, names))
        except ValueError as error:
            problems.append(f"{path}, line {line}: {error}")
            entries[name] = entry._replace(is_complete=False)
    return list(entries.values())


def refuse_header(row, path):
    """Raise an error if a first row that is no known header is no row of a box either."""
    has_numbers = any(re.fullmatch(r"[-+.\deE]+", cell.strip()) for cell in row)
    if is_box_row(row) or has_numbers or not any(cell.strip() for cell in row[1:]):
        return
    raise UserError(
        f"{path}: its columns are {','.join(row)}, expected {','.join(COLUMNS)}, or w,h for x2,y2"
    )


def image_path(folder, file, split, path, name):
    """The path of the image of a row: as it is written, or else of an image with that name."""
    direct = os.path.join(folder.root, os.path.dirname(file), name)
    if os.path.isfile(direct):
        return direct
    return folder.find_image(name, file, split, path)


def size_of_cells(cells):
    """(height, width) that a row gives to its image, or None."""
    size = [cells.get(side, "") for side in ("height", "width")]
    is_size = all(side.isdecimal() and 0 < int(side) < 1 << 31 for side in size)
    return tuple(map(int, size)) if is_size else None


def object_of_cells(cells, names):
    """The Object that the cells of a row describe."""
    numbers = {}
    for column in ("x1", "y1", "w", "h") if "w" in cells else ("x1", "y1", "x2", "y2"):
        try:
            numbers[column] = to_number(cells[column])
        except ValueError:
            message = f"column {column} is {cells[column]!r}, expected a number"
            raise ValueError(message) from None
    left, top, *others = numbers.values()
    right, bottom = (left + others[0], top + others[1]) if "w" in cells else others
    name = cells["class"]
    if not name:
        raise ValueError("it has a box and no class")
    if names is not None and name not in names:
        raise ValueError(f"class {name!r} is not one of {', '.join(names)}")
    return Object(left, top, right, bottom, name)


def header_of(row):
    """The place of each column, by the names in a first row; None if it does not name boxes."""
    words = [cell.strip().lower() for cell in row]
    columns, box_size, image_size = (
        {
            column: words.index(name)
            for column, names in known.items()
            for name in reversed(names)
            if name in words
        }
        for known in (COLUMNS, BOX_SIZE, IMAGE_SIZE)
    )
    if columns.keys() == COLUMNS.keys():
        return columns | image_size
    columns |= box_size
    if COLUMNS.keys() - {"x2", "y2"} | BOX_SIZE.keys() == columns.keys():
        taken = columns.values()
        return columns | {side: place for side, place in image_size.items() if place not in taken}
    return None


def rows(path):
    """[(line number, cells)] of the rows of a file that are not blank."""
    return split_cells(read_text(path).splitlines(), path)


def split_cells(lines, path):
    """The same of the lines of a file. Commas, semicolons or tabs, whichever is most frequent in
    the first row, separate the cells."""
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    try:
        reader = csv.reader(lines, delimiter=delimiter)
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{path}: not a readable csv ({error})") from None


def read_classes(path):
    """The names in a list of rows `class,id`, with or without a header, in the order of the ids."""
    named = []
    for _, row in rows(path):
        if len(row) > 1 and row[1].strip().isdecimal():
            named.append((int(row[1]), row[0].strip()))
    if not named:
        raise UserError(f"{path}: no class in it; expected rows of class,id")
    for what, values in zip(("id", "class"), zip(*named)):
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            raise UserError(
                f"{path}: {what} {value} is in {count} rows; expected a row for each class"
            )
    return [name for _, name in sorted(named)]
