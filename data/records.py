"""Records: what every dataset becomes, whatever its format."""

import hashlib
import itertools
import math
import os
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from data.checks import refuse_impossible
from data.images import image_size
from data.text import UserError, count_note, to_number, with_progress

# The label of a region that is ignored for every class.
ANY_CLASS = -1


class Object(NamedTuple):
    """An object as it is annotated: its corners in pixels and the name of its class."""

    left: float
    top: float
    right: float
    bottom: float
    name: str  # None for a region that is ignored for every class
    ignore: bool = False
    area: float = None  # in square pixels; None if the dataset has none: that of the box
    # The class that it resembles so much that a detection of that class there is no mistake.
    similar: str = None


class Entry(NamedTuple):
    """An image and what is annotated on it."""

    path: str
    size: tuple  # (height, width) in pixels; None if it is to be read from the image
    image_id: object  # the dataset's own number or name of the image
    objects: list
    is_complete: bool = True  # False if something that is annotated on it could not be read


@dataclass
class Source:
    """What the reader of a format finds in a dataset."""

    classes: list  # names
    splits: dict  # the dataset's own name of a split -> entries; "all" if it has no splits
    category_ids: dict = field(default_factory=dict)  # class name -> the dataset's own number
    # Whether the classes are a well-known list, which is kept even if some have no object here.
    fixed_classes: bool = False
    # Classes that are annotated, but only detected if the user asks for them.
    other_classes: tuple = ()
    notes: list = field(default_factory=list)  # sentences that the user should read
    problems: list = field(default_factory=list)  # a line for each thing that could not be read

    def entries(self):
        """Those of all splits; an image in two of them is there twice."""
        return [entry for part in self.splits.values() for entry in part]

    def annotated_classes(self):
        """All classes that the user may ask for."""
        return [*self.classes, *self.other_classes]


def box_around(x, y):
    """The corners (left, top, right, bottom) of the box around points."""
    return min(x), min(y), max(x), max(y)


def box_around_rotated(corners, degrees):
    """The corners of the box around a rectangle that is rotated about its centre.

    degrees: the value of the attribute rotation, as CVAT writes it; one that is no number is an
    attribute of the user's, and one that is not there is None.
    """
    try:
        angle = math.radians(to_number(degrees))
    except ValueError:
        return corners
    left, top, right, bottom = corners
    width, height = right - left, bottom - top
    sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
    x_margin = (width * cosine + height * sine - width) / 2
    y_margin = (width * sine + height * cosine - height) / 2
    return left - x_margin, top - y_margin, right + x_margin, bottom + y_margin


def object_names(splits):
    """The names of the classes that have objects, in alphabetical order."""
    entries = (entry for part in splits.values() for entry in part)
    return sorted({item.name for entry in entries for item in entry.objects} - {None})


def read_entries(folder, files, parse, problems):
    """The entries of annotation files, of which each has one image: split -> entries.

    files: split -> files; a file may be in several. parse(folder, file, problems) -> Entry.
    """
    parsed = {}
    for file in with_progress({file: None for part in files.values() for file in part}, "files"):
        num_problems = len(problems)
        try:
            entry = parse(folder, file, problems)
            parsed[file] = entry._replace(is_complete=len(problems) == num_problems)
        except UserError as problem:
            problems.append(str(problem))
    return {
        split: [parsed[file] for file in part if file in parsed] for split, part in files.items()
    }


def with_images(entries, find_image, problems):
    """The entries of a file that names many images, whose paths are names in it, with the paths of
    their images; an image that is not found becomes a problem. find_image(name) -> path."""
    found = []
    for entry in entries:
        try:
            found.append(entry._replace(path=find_image(entry.path)))
        except UserError as problem:
            problems.append(str(problem))
    return found


@dataclass(frozen=True)
class Records:
    """M images with K objects, as a few arrays.

    Processes that load images share arrays, but would copy a list of Python objects one by one;
    image_ids, the only such objects here, are not touched while images are loaded.
    Image i has the objects from offsets[i] up to offsets[i + 1]. Boxes are in pixels of the image
    as it is shown.
    """

    paths: np.ndarray  # [M] bytes
    sizes: np.ndarray  # [M, 2] height, width
    image_ids: np.ndarray  # [M] the dataset's own numbers or names, as Python has them
    offsets: np.ndarray  # [M + 1]
    boxes: np.ndarray  # [K, 4] float32, xyxy
    labels: np.ndarray  # [K] 0 .. C - 1 or ANY_CLASS
    ignore: np.ndarray  # [K] whether it is neither object nor background: crowds, difficult ones
    areas: np.ndarray  # [K] square pixels, as the dataset measures them
    category_ids: tuple = ()  # [C] the dataset's own numbers of the classes
    ignored_labels: tuple = ()  # those of classes whose detections do not count
    scores: np.ndarray = None  # [K] of detections; annotations have none
    notes: tuple = field(default=(), repr=False)
    problems: tuple = field(default=(), repr=False)

    def __len__(self):
        return len(self.paths)

    def path(self, index):
        return os.fsdecode(self.paths[index])

    def objects(self, index):
        """The slice of boxes, labels, ignore and areas with the objects of one image."""
        return slice(self.offsets[index], self.offsets[index + 1])

    def fingerprint(self):
        """A short text that tells these sizes and objects from others, wherever the images are."""
        digest = hashlib.sha256()
        for column in (self.sizes, self.offsets, self.boxes, self.labels, self.ignore):
            digest.update(column.tobytes())
        return digest.hexdigest()[:16]

    def subset(self, indices):
        """Records of these images only, in this order."""
        rows = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in indices]
        kept = np.concatenate(rows) if rows else np.zeros(0, int)
        images = replace(
            self,
            paths=self.paths[indices],
            sizes=self.sizes[indices],
            image_ids=self.image_ids[indices],
        )
        return images.with_objects(kept, np.cumsum([0] + [len(row) for row in rows]))

    def with_objects(self, kept, offsets):
        """Records of the same images with these objects only, whose rows in the images of the new
        records are given by offsets [M + 1]."""
        return replace(
            self,
            offsets=offsets,
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            ignore=self.ignore[kept],
            areas=self.areas[kept],
            scores=None if self.scores is None else self.scores[kept],
        )


def pack(entries, classes, category_ids=None, notes=()):
    """The records of some entries; an object's label is the place of its class in the list.

    Objects of other classes are left out, or ignored: see of_classes. An entry without a size gets
    that of its image; if it cannot be read, it becomes a problem.
    Boxes are clipped to their images, and dropped if they are then less than a pixel wide or high;
    a note counts those and names their files.
    """
    entries, unreadable = with_sizes(of_classes(entries, classes))
    distinct = [list(dict.fromkeys(entry.objects)) for entry in entries]
    num_equal = [len(entry.objects) - len(part) for entry, part in zip(entries, distinct)]
    paths = np.array([entry.path for entry in entries], object)
    sizes = np.array([entry.size for entry in entries], np.int32).reshape(-1, 2)
    corners, labels, ignore, areas, image = object_arrays(distinct, classes)
    refuse_impossible(corners, sizes[image], paths[image])
    boxes, kept, clipped = clip_boxes(corners, sizes[image])
    notes = list(notes)
    repeated = np.repeat(paths, num_equal).tolist()
    notes += count_note("boxes that are listed twice and count once", repeated)
    dropped = paths[image[~kept]].tolist()
    notes += count_note("dropped boxes of no area or outside their image", dropped)
    # A few boxes reach beyond the border in every dataset, by a pixel or so.
    if clipped.sum() > len(boxes) / 20:
        what = "clipped boxes beyond the border of their image (rotated photos?)"
        notes += count_note(what, paths[image[clipped]].tolist())

    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    areas = np.where(np.isnan(areas), width * height, areas)
    counts = np.bincount(image[kept], minlength=len(entries))
    ids = category_ids or {}
    # A class that the dataset does not know gets a number that none of its own has.
    free = (number for number in itertools.count(1) if number not in ids.values())
    return Records(
        paths=np.array([os.fsencode(path) for path in paths], dtype=bytes),
        sizes=sizes,
        image_ids=np.array([entry.image_id for entry in entries], dtype=object),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=boxes[kept],
        labels=labels[kept],
        ignore=ignore[kept],
        areas=areas[kept],
        category_ids=tuple(ids[name] if name in ids else next(free) for name in classes),
        notes=tuple(notes),
        problems=tuple(unreadable),
    )


def of_classes(entries, classes):
    """The entries with the objects of these classes only. Objects of another class that is similar
    to one of them are objects of that one, to be ignored."""
    names = {None, *classes}
    selected = []
    for entry in entries:
        objects = []
        for item in entry.objects:
            if item.name in names:
                objects.append(item)
            elif item.similar is not None and item.similar in names:
                objects.append(item._replace(name=item.similar, ignore=True))
        selected.append(entry._replace(objects=objects))
    return selected


def object_arrays(parts, classes):
    """The objects of images, a list for each: corners [K, 4], labels [K], ignore [K], areas [K],
    NaN where the dataset has none, and images [K], the numbers of their images."""
    objects = list(itertools.chain.from_iterable(parts))
    label_of = {name: label for label, name in enumerate(classes)} | {None: ANY_CLASS}
    return (
        np.array([item[:4] for item in objects], np.float32).reshape(-1, 4),
        np.array([label_of[item.name] for item in objects], np.int64),
        np.array([item.ignore for item in objects], bool),
        np.array([item.area for item in objects], np.float64),  # None becomes NaN
        np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
    )


def clip_boxes(boxes, sizes):
    """Boxes [K, 4] clipped to their images, sizes [K, 2] -> boxes [K, 4], and two masks [K]: which
    are still at least a pixel wide and high; and which of these reached beyond their image."""
    limits = sizes[:, [1, 0, 1, 0]].astype(np.float32)
    with np.errstate(invalid="ignore"):
        outside = ((boxes < 0) | (boxes > limits)).any(axis=1)
        boxes = np.clip(boxes, 0, limits)
        kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    return boxes, kept, outside & kept


def with_sizes(entries):
    """The entries with their sizes, read from the image if need be, and the problems of those
    whose image cannot be read."""
    known = []
    problems = []
    for entry in entries:
        try:
            known.append(entry._replace(size=entry.size or image_size(entry.path)))
        except UserError as problem:
            problems.append(str(problem))
    return known, problems
