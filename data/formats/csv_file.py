"""Csv files with a row for each object: `path,x1,y1,x2,y2,class`, or as a header says.

A row `path,,,,,` stands for an image without objects.
"""

import csv
import os
from collections import defaultdict
from pathlib import Path

from data.folder import Folder, file_split
from data.records import Entry, Object, Source
from data.text import UserError, read_text, to_number

# The names that other programs give to the columns.
COLUMNS = dict(
    path=("path", "filename", "file_name", "image", "image_path", "img", "file", "image_id"),
    left=("x1", "xmin", "x_min", "left"),
    top=("y1", "ymin", "y_min", "top"),
    right=("x2", "xmax", "x_max", "right"),
    bottom=("y2", "ymax", "y_max", "bottom"),
    name=("class", "label", "class_name", "category", "name"),
)
# The name of each column in our own messages.
COLUMN_NAMES = dict(path="path", left="x1", top="y1", right="x2", bottom="y2", name="class")
LAYOUT = "expected train.csv of path,x1,y1,x2,y2,class, and perhaps val.csv and classes.csv"


def recognise(folder):
    """The files of a folder that are of this format."""
    return [
        file for file in folder.matching(r"(.*/)?[^/]*\.(csv|tsv)") if is_boxes(folder.path(file))
    ]


def is_boxes(path):
    """Whether a file has the columns of boxes, by its first row."""
    try:
        table = list(rows(path, limit=1))
    except UserError:
        return False
    if not table:
        return False
    return header_of(table[0][1]) is not None or len(table[0][1]) == len(COLUMNS)


def read(folder):
    """The Source of all csv files of boxes in a folder. The name of a file, or of its folder, says
    which split it is."""
    files = recognise(folder)
    if not files:
        raise UserError(f"no csv of boxes in {folder.root.absolute()}; {LAYOUT}")
    lists = folder.matching(r"(.*/)?(classes|class_list|class|labels)\.csv")
    lists = [file for file in lists if file not in files]
    names = read_classes(folder.path(lists[0])) if lists else None
    parts = [(file_split(file) or "all", file) for file in files]
    return build_source([(split, folder.path(file), folder, file) for split, file in parts], names)


def read_files(annotations, val_annotations=None, class_list=None, images="", val_images=""):
    """The Source of one or two csv files. Paths in them are relative to the file, or to images and
    val_images, folders of images."""
    names = read_classes(class_list) if class_list else None
    parts = [("train" if val_annotations else "all", annotations, images)]
    if val_annotations:
        parts.append(("val", val_annotations, val_images or images))
    sources = []
    for split, file, image_folder in parts:
        rows(file)
        folder = Folder(image_folder or Path(file).parent)
        sources.append((split, file, folder, os.path.basename(file)))
    return build_source(sources, names)


def build_source(parts, names):
    """The Source of some csv files, (split, path, Folder of images, path relative to it) each."""
    splits = defaultdict(list)
    problems = []
    for split, path, folder, file in parts:
        splits[split] += csv_entries(path, folder, file, split, names, problems)
    found = {
        item.name for entries in splits.values() for entry in entries for item in entry.objects
    }
    return Source(names or sorted(found), dict(splits), problems=problems)


def csv_entries(path, folder, file, split, names, problems):
    """The entries of one csv file; a row that cannot be used becomes a problem."""
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
            problems.append(
                f"{where}: {len(row)} columns, expected {','.join(COLUMN_NAMES.values())}"
            )
            continue
        cells = {name: row[place].strip() for name, place in columns.items()}
        objects = images[cells["path"]]
        if not any(cells[name] for name in cells if name != "path"):
            continue
        try:
            objects.append(object_of_cells(cells, names))
        except ValueError as error:
            problems.append(f"{where}: {error}")
    entries = []
    for name, objects in images.items():
        try:
            entries.append(Entry(image_path(name, folder, file, split), None, name, objects))
        except UserError as problem:
            problems.append(str(problem))
    return entries


def image_path(name, folder, file, split):
    """The path of the image of a row: as it is written, or else of an image with that name."""
    direct = os.path.join(folder.root, os.path.dirname(file), name)
    if os.path.isfile(direct):
        return direct
    return folder.find_image(name, file, split if split != "all" else None)


def object_of_cells(cells, names):
    """The Object that the cells of a row describe."""
    corners = []
    for column in ("left", "top", "right", "bottom"):
        try:
            corners.append(to_number(cells[column]))
        except ValueError:
            raise ValueError(
                f"column {COLUMN_NAMES[column]} is {cells[column]!r}, expected a number"
            ) from None
    name = cells["name"]
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


def rows(path, limit=None):
    """[(line number, cells)] of the rows that are not blank. Commas, semicolons or tabs, whichever
    is most frequent in the first row, separate the cells."""
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    try:
        reader = csv.reader(text.splitlines(), delimiter=delimiter)
        found = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{path}: not a readable csv ({error})") from None
    return found[:limit]


def read_classes(path):
    """The names in a list of rows `class,id`, with or without a header, in the order of the ids."""
    named = []
    for _, row in rows(path):
        if len(row) > 1 and row[1].strip().isdecimal():
            named.append((int(row[1]), row[0].strip()))
    if not named:
        raise UserError(f"{path}: no class in it; expected rows of class,id")
    return [name for _, name in sorted(named)]
