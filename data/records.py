"""Records: what every dataset becomes, however it writes its boxes down."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.checks import refuse_impossible
from data.images import image_size
from data.text import UserError, some

# The label of an area to ignore whatever the class.
ANY_CLASS = -1


class Object(NamedTuple):
    """An object as its annotation has it: corners in pixels, the name of its class."""

    left: float
    top: float
    right: float
    bottom: float
    name: str  # None for an area to ignore whatever the class
    ignore: bool = False
    area: float = None  # square pixels; that of the box where the dataset does not tell


class Entry(NamedTuple):
    """An image and what is annotated on it."""

    path: str
    size: tuple  # (height, width) in pixels, or None: read from the image
    image_id: object  # the dataset's own number or name
    objects: list


@dataclass
class Source:
    """What a reader finds in a dataset.

    splits: entries by the dataset's own split names; "all" where it has none. fixed_classes: they
    are a well-known list, and stay where the dataset shows no object of some. other_classes: those
    that are left out unless asked for. similar: other class -> the class that it is too like to be
    its background.
    """

    classes: list
    splits: dict
    category_ids: dict = field(default_factory=dict)  # class name -> the dataset's own number
    fixed_classes: bool = False
    other_classes: tuple = ()
    similar: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)  # sentences for the user
    problems: list = field(default_factory=list)  # a line for each thing that had to be left out


@dataclass(frozen=True)
class Records:
    """M images with K objects, as a few arrays, which worker processes share instead of copying.

    Image i has the objects offsets[i] to offsets[i + 1]. Boxes are in pixels of the image as shown.
    """

    paths: np.ndarray  # [M] bytes
    sizes: np.ndarray  # [M, 2] height, width
    image_ids: np.ndarray  # [M] the dataset's own numbers or names
    offsets: np.ndarray  # [M + 1]
    boxes: np.ndarray  # [K, 4] float32, xyxy
    labels: np.ndarray  # [K] 0 .. C - 1 or ANY_CLASS
    ignore: np.ndarray  # [K] crowds, difficult objects: neither objects nor background
    areas: np.ndarray  # [K] square pixels, as the dataset counts them
    category_ids: tuple = ()  # [C] the dataset's own numbers of the classes
    notes: tuple = field(default=(), repr=False)
    problems: tuple = field(default=(), repr=False)

    def __len__(self):
        return len(self.paths)

    def path(self, index):
        return self.paths[index].decode()

    def image_id(self, index):
        return self.image_ids[index].item()

    def objects(self, index):
        """The slice of boxes, labels, ignore and areas that belongs to one image."""
        return slice(self.offsets[index], self.offsets[index + 1])

    def subset(self, indices):
        """The same records with these images only, in this order."""
        rows = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in indices]
        kept = np.concatenate(rows) if rows else np.zeros(0, int)
        return replace(
            self,
            paths=self.paths[indices],
            sizes=self.sizes[indices],
            image_ids=self.image_ids[indices],
            offsets=np.cumsum([0] + [len(row) for row in rows]),
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            ignore=self.ignore[kept],
            areas=self.areas[kept],
        )


def pack(entries, classes, category_ids=None, similar=None, notes=(), problems=()):
    """Make records of entries, with labels by the order of the class names.

    An image without a size is asked for it; one that cannot be read is left out and is a problem.
    Objects of other classes are left out, or ignored where they are `similar` to one of these.
    Boxes are clipped to the image; those of which less than a pixel remains, either way, are
    dropped, and a note counts them and names their files.
    """
    entries, unreadable = with_sizes(entries)
    rows, image = label_objects(entries, classes, similar or {})
    image = np.array(image, np.int64)
    sizes = np.array([entry.size for entry in entries], np.int32).reshape(-1, 2)
    corners = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    refuse_impossible(corners, sizes[image], [entries[i].path for i in image])
    boxes, kept, clipped = clip_boxes(corners, sizes[image])
    what = "dropped boxes of no area or outside their image"
    notes = (*notes, *count_note(what, entries, image[~kept]))
    if clipped.sum() > len(boxes) / 20:
        what = "clipped boxes beyond the border of their image (rotated photos?)"
        notes = (*notes, *count_note(what, entries, image[clipped]))

    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    areas = np.array([np.nan if row[6] is None else row[6] for row in rows], np.float64)
    areas = np.where(np.isnan(areas), width * height, areas)
    counts = np.bincount(image[kept], minlength=len(entries))
    ids = category_ids or {}
    return Records(
        paths=np.array([str(entry.path).encode() for entry in entries], dtype=bytes),
        sizes=sizes,
        image_ids=np.array([entry.image_id for entry in entries]),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=boxes[kept],
        labels=np.array([row[4] for row in rows], np.int64)[kept],
        ignore=np.array([row[5] for row in rows], bool)[kept],
        areas=areas[kept],
        category_ids=tuple(ids.get(name, i) for i, name in enumerate(classes, start=1)),
        notes=tuple(notes),
        problems=(*problems, *unreadable),
    )


def label_objects(entries, classes, similar):
    """(left, top, right, bottom, label, ignore, area) of every object that is kept, and
    its image."""
    label = {name: i for i, name in enumerate(classes)} | {None: ANY_CLASS}
    like = {name: other for name, other in similar.items() if name not in label}
    rows, image = [], []
    for i, entry in enumerate(entries):
        for item in entry.objects:
            if item.name in label:
                rows.append((*item[:4], label[item.name], item.ignore, item.area))
                image.append(i)
            elif item.name in like and like[item.name] in label:
                rows.append((*item[:4], label[like[item.name]], True, item.area))
                image.append(i)
    return rows, image


def clip_boxes(boxes, sizes):
    """Boxes [K, 4] cut at the border of images of sizes [K, 2] -> boxes, masks [K] of those that
    are still at least a pixel wide and high, and of those that were cut and are."""
    limits = sizes[:, [1, 0, 1, 0]].astype(np.float32)
    with np.errstate(invalid="ignore"):
        outside = ((boxes < 0) | (boxes > limits)).any(axis=1)
        boxes = np.clip(boxes, 0, limits)
        kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    return boxes, kept, outside & kept


def with_sizes(entries):
    """The entries whose size is known or can be read from their images; a problem for each
    other."""
    known, problems = [], []
    for entry in entries:
        try:
            size = entry.size or image_size(entry.path)
        except UserError as problem:
            problems.append(str(problem))
            continue
        known.append(entry._replace(size=size) if entry.size is None else entry)
    return known, problems


def count_note(what, entries, images):
    """A note that counts something and names the files it happened in; none where it did not."""
    if not len(images):
        return []
    names = {Path(entries[i].path).name for i in images}
    return [f"{what}: {len(images)}, of {some(names)}"]
