"""Records: what every reader returns, however a dataset writes its boxes down."""
import zlib
from dataclasses import dataclass, field, replace

import numpy as np

from data.errors import UserError
from data.images import image_size

# The label of an area to ignore whatever the class.
ANY = -1


@dataclass(frozen=True)
class Records:
    """M images with K objects, as a few arrays: worker processes share them instead of copying a list of objects.

    Image i has the objects offsets[i] to offsets[i + 1]. Boxes are xyxy in pixels of the image as it is shown.
    """
    paths: np.ndarray         # [M] bytes
    sizes: np.ndarray         # [M, 2] height, width
    image_ids: np.ndarray     # [M] the dataset's own numbers or names
    offsets: np.ndarray       # [M + 1]
    boxes: np.ndarray         # [K, 4] float32
    labels: np.ndarray        # [K] 0 .. C - 1; ANY for what is to be ignored whatever the class
    ignore: np.ndarray        # [K] crowds, difficult objects: neither objects nor background
    areas: np.ndarray         # [K] square pixels, as the dataset counts them
    category_ids: tuple = ()  # [C] the dataset's own numbers of the classes
    notes: tuple = field(default=(), repr=False)     # what the reader wants the user to know, a sentence each
    problems: tuple = field(default=(), repr=False)  # what is wrong and had to be left out, a line each

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
            self, paths=self.paths[indices], sizes=self.sizes[indices], image_ids=self.image_ids[indices],
            offsets=np.cumsum([0] + [len(row) for row in rows]), boxes=self.boxes[kept], labels=self.labels[kept],
            ignore=self.ignore[kept], areas=self.areas[kept])


def pack(entries, category_ids=(), notes=(), problems=()):
    """Make records of entries (path, (height, width), image_id, objects), one an image.

    A size of None is read from the image; an image that cannot be read is left out and becomes a problem. An object is
    (left, top, right, bottom, label, ignore) or has its area as a seventh. Boxes are clipped to the image; those of
    which less than a pixel remains, either way, are dropped, and a note counts them and names their files.
    """
    entries, unreadable = sized(entries)
    objects = [tuple(one) + (None,) * (7 - len(one)) for entry in entries for one in entry[3]]
    counts = np.array([len(entry[3]) for entry in entries], np.int64)
    image = np.repeat(np.arange(len(entries)), counts)
    sizes = np.array([entry[1] for entry in entries], np.int32).reshape(-1, 2)

    boxes = np.array([one[:4] for one in objects], np.float32).reshape(-1, 4)
    limits = sizes[image][:, [1, 0, 1, 0]].astype(np.float32)
    with np.errstate(invalid="ignore"):
        outside = ((boxes < 0) | (boxes > limits)).any(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes = np.clip(boxes, 0, limits)
        whole = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    notes = (*notes, *tell("dropped boxes of no area or outside their image", entries, image[~whole]))
    if outside.sum() > len(boxes) / 20:
        notes = (*notes, *tell("clipped boxes beyond their image's border (turned photos? x and y, or width and right, "
                               "confused?)", entries, image[outside & whole]))

    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    areas = np.array([np.nan if one[6] is None else one[6] for one in objects], np.float64)
    areas = np.where(np.isnan(areas), width * height, areas)
    return Records(
        paths=np.array([str(entry[0]).encode() for entry in entries], dtype=bytes),
        sizes=sizes,
        image_ids=np.array([entry[2] for entry in entries]),
        offsets=np.concatenate([[0], np.cumsum(np.bincount(image[whole], minlength=len(entries)))]).astype(np.int64),
        boxes=boxes[whole],
        labels=np.array([one[4] for one in objects], np.int64)[whole],
        ignore=np.array([one[5] for one in objects], bool)[whole],
        areas=areas[whole],
        category_ids=tuple(category_ids),
        notes=tuple(notes),
        problems=(*problems, *unreadable),
    )


def sized(entries):
    """The entries whose size is known or can be read from their images, and a problem for each other."""
    known, problems = [], []
    for path, size, image_id, objects in entries:
        try:
            known.append((path, size or image_size(path), image_id, objects))
        except UserError as problem:
            problems.append(str(problem))
    return known, problems


def tell(what, entries, images):
    """A note that counts something and names the files it happened in, if it happened."""
    names = sorted({str(entries[i][0]).replace("\\", "/").rsplit("/", 1)[-1] for i in images})
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield f"{what}: {len(images)}, of {', '.join(names[:5])}{more}"


def parted(images, split, why, name=str):
    """Those images that train is to have, or the one in five kept for val, and a note that says why they are parted.

    Their names decide: the same on every machine. Of fewer than five, too, one is kept; an only one is both.
    """
    if split not in ("train", "val"):
        raise UserError(f"no split {split!r} in this dataset; train and val are there")
    marks = [zlib.crc32(name(image).encode()) for image in images]
    kept = [mark % 5 == 0 for mark in marks]
    if len(marks) == 1:
        return images, [f"{why}: the only image is trained and judged on"]
    if len(set(kept)) == 1:
        kept[marks.index(min(marks))] = not kept[0]
    return ([image for image, held in zip(images, kept) if held == (split == "val")],
            [f"{why}: one image in five is held out for validation"])
