"""A csv with a row for each object: `path,x1,y1,x2,y2,class`, or other columns that it names.

`path,,,,,` is an image without objects.
"""

import csv
import os
from collections import defaultdict
from pathlib import Path

from data.folder import Folder, file_split
from data.records import Entry, Object, Source
from data.text import UserError, read_text, to_number

# The names that programs give to the columns.
COLUMNS = dict(
    path=("path", "filename", "file_name", "image", "image_path", "img", "file", "image_id"),
    left=("x1", "xmin", "x_min", "left"),
    top=("y1", "ymin", "y_min", "top"),
    right=("x2", "xmax", "x_max", "right"),
    bottom=("y2", "ymax", "y_max", "bottom"),
    name=("class", "label", "class_name", "category", "name"),
)
SHORT = dict(path="path", left="x1", top="y1", right="x2", bottom="y2", name="class")
LAYOUT = "expected train.csv of path,x1,y1,x2,y2,class and, if there are, val.csv and classes.csv"


def recognise(folder):
    """The files of a folder that are of this format."""
    return [
        file for file in folder.matching(r"(.*/)?[^/]*\.(csv|tsv)") if is_boxes(folder.path(file))
    ]


def is_boxes(path):
    """Whether a file has the columns of boxes."""
    try:
        table = list(rows(path, limit=1))
    except UserError:
        return False
    if not table:
        return False
    return header_of(table[0][1]) is not None or len(table[0][1]) == len(COLUMNS)


def read(folder):
    """Every csv of boxes, its split told by its name or its folder's -> Source."""
    files = recognise(folder)
    if not files:
        raise UserError(f"no csv of boxes in {folder.root.absolute()}; {LAYOUT}")
    lists = folder.matching(r"(.*/)?(classes|class_list|class|labels)\.csv")
    lists = [file for file in lists if file not in files]
    names = read_classes(folder.path(lists[0])) if lists else None
    parts = [(file_split(file) or "all", file) for file in files]
    return build_source([(split, folder.path(file), folder, file) for split, file in parts], names)


def read_files(annotations, val_annotations=None, class_list=None, images="", val_images=""):
    """One or two csv files, paths relative to each, or to folders of images -> Source."""
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
    """(split, path, Folder, path within it) of each file -> Source."""
    splits, problems = defaultdict(list), []
    for split, path, folder, file in parts:
        splits[split] += csv_entries(path, folder, file, split, names, problems)
    found = {
        item.name for entries in splits.values() for entry in entries for item in entry.objects
    }
    return Source(names or sorted(found), dict(splits), problems=problems)


def csv_entries(path, folder, file, split, names, problems):
    """The images of one csv with their objects; a row that cannot be used becomes a problem."""
    columns, images = None, defaultdict(list)
    for line, row in rows(path):
        where = f"{path}, line {line}"
        if columns is None:
            columns = header_of(row)
            if columns:
                continue
            columns = {name: place for place, name in enumerate(COLUMNS)}
        if len(row) <= max(columns.values()):
            problems.append(f"{where}: {len(row)} columns, expected {','.join(SHORT.values())}")
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
    """The image of a row: the path as it is written, else an image of that name in the folder."""
    direct = os.path.join(folder.root, os.path.dirname(file), name)
    if os.path.isfile(direct):
        return direct
    return folder.find_image(name, file, split if split != "all" else None)


def object_of_cells(cells, names):
    """The Object of a row's cells."""
    corners = []
    for column in ("left", "top", "right", "bottom"):
        try:
            corners.append(to_number(cells[column]))
        except ValueError:
            raise ValueError(
                f"column {SHORT[column]} is {cells[column]!r}, expected a number"
            ) from None
    name = cells["name"]
    if not name:
        raise ValueError("it has a box and no class")
    if names is not None and name not in names:
        raise ValueError(f"class {name!r} is not one of {', '.join(names)}")
    return Object(*corners, name)


def header_of(row):
    """Where each column is, by the names in the first row; None if it is no row of names."""
    words = [cell.strip().lower() for cell in row]
    columns = {}
    for column, names in COLUMNS.items():
        columns[column] = next((words.index(name) for name in names if name in words), None)
    return columns if None not in columns.values() else None


def rows(path, limit=None):
    """(line number, cells) of each row that is not blank; they lie between commas, ; or tabs."""
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
    """The names of a list `class,id`, with a header or without, in the order of the ids."""
    named = []
    for _, row in rows(path):
        if len(row) > 1 and row[1].strip().isdecimal():
            named.append((int(row[1]), row[0].strip()))
    if not named:
        raise UserError(f"{path}: no class in it; expected rows of class,id")
    return [name for _, name in sorted(named)]
