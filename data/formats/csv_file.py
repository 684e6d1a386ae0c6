"""Csv files with a row for each object: `path,x1,y1,x2,y2,class`, or as a header says.

A row `path,,,,,` stands for an image without objects.
"""

import csv
import os
from collections import defaultdict
from functools import partial

from data.folder import file_split, named_parts
from data.records import Object, Source, entries_by_name, object_names
from data.text import UserError, read_text, to_number

# The names of the columns, and those that other programs give to them.
COLUMNS = {
    "path": ("path", "filename", "file_name", "image", "image_path", "img", "file", "image_id"),
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "class": ("class", "label", "class_name", "category", "name"),
}
LAYOUT = "expected train.csv of path,x1,y1,x2,y2,class, and perhaps val.csv and classes.csv"


def recognise(folder):
    return [
        file for file in folder.matching(r"(.*/)?[^/]*\.(csv|tsv)") if is_boxes(folder.path(file))
    ]


def is_boxes(path):
    """Whether a file has the columns of boxes, by its first row."""
    try:
        first = [row for _, row in rows(path)[:1]]
    except UserError:
        return False
    return any(header_of(row) or len(row) == len(COLUMNS) for row in first)


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
    problems = []
    for split, path, folder, file in parts:
        find_image = partial(image_path, folder, file, split)
        splits[split] += entries_by_name(csv_objects(path, names, problems), find_image, problems)
    return Source(names or object_names(splits), dict(splits), problems=problems)


def csv_objects(path, names, problems):
    """The objects of one csv file: name of the image -> Objects. A row that cannot be used becomes
    a problem."""
    columns = None
    images = defaultdict(list)
    for line, row in rows(path):
        where = f"{path}, line {line}"
        if columns is None:
            columns = header_of(row)
            if columns:
                continue
            columns = {name: place for place, name in enumerate(COLUMNS)}
        if len(row) <= max(columns.values()):
            problems.append(f"{where}: {len(row)} columns, expected {','.join(COLUMNS)}")
            continue
        cells = {name: row[place].strip() for name, place in columns.items()}
        objects = images[cells["path"]]
        if not any(cells[name] for name in cells if name != "path"):
            continue
        try:
            objects.append(object_of_cells(cells, names))
        except ValueError as error:
            problems.append(f"{where}: {error}")
    return images


def image_path(folder, file, split, name):
    """The path of the image of a row: as it is written, or else of an image with that name."""
    direct = os.path.join(folder.root, os.path.dirname(file), name)
    if os.path.isfile(direct):
        return direct
    return folder.find_image(name, file, split)


def object_of_cells(cells, names):
    """The Object that the cells of a row describe."""
    corners = []
    for column in ("x1", "y1", "x2", "y2"):
        try:
            corners.append(to_number(cells[column]))
        except ValueError:
            message = f"column {column} is {cells[column]!r}, expected a number"
            raise ValueError(message) from None
    name = cells["class"]
    if not name:
        raise ValueError("it has a box and no class")
    if names is not None and name not in names:
        raise ValueError(f"class {name!r} is not one of {', '.join(names)}")
    return Object(*corners, name)


def header_of(row):
    """The place of each column, by the names in a first row; None if there are no such names."""
    words = [cell.strip().lower() for cell in row]
    columns = {}
    for column, names in COLUMNS.items():
        columns[column] = next((words.index(name) for name in names if name in words), None)
    return columns if None not in columns.values() else None


def rows(path):
    """[(line number, cells)] of the rows that are not blank. Commas, semicolons or tabs, whichever
    is most frequent in the first row, separate the cells."""
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    try:
        reader = csv.reader(text.splitlines(), delimiter=delimiter)
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
    return [name for _, name in sorted(named)]
