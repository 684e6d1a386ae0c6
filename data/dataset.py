"""From a folder to a Dataset: which format it is, which classes, which images, and their
samples."""

from collections import Counter

import numpy as np
import torch

from data import shapes
from data.errors import UserError
from data.folder import Folder
from data.formats import cityscapes, coco, csv_file, kitti, labelme, voc, widerface, yolo
from data.images import read_image
from data.text import some

FORMATS = dict(
    coco=coco,
    voc=voc,
    yolo=yolo,
    csv=csv_file,
    kitti=kitti,
    cityscapes=cityscapes,
    widerface=widerface,
    labelme=labelme,
)
DATASETS = ("shapes", *FORMATS, "auto")


def read_folder(name, root):
    """What a folder in the format of this name holds -> Source. auto: the format is recognised."""
    if name == "shapes":
        return shapes.read(root)
    folder = Folder(root)
    note = []
    if name == "auto":
        name, note = recognise_format(folder)
    source = FORMATS[name].read(folder)
    source.notes[:0] = note
    return source


def recognise_format(folder):
    """The only format that a folder's files are of, and a note that says so."""
    found = {name: files for name, form in FORMATS.items() if (files := form.recognise(folder))}
    if len(found) == 1:
        ((name, files),) = found.items()
        return name, [f"{folder.root} is read as --dataset {name}: {some(files, count=2)}"]
    if found:
        options = "; ".join(f"--dataset {name} ({some(files, 1)})" for name, files in found.items())
        raise UserError(f"{folder.root} could be read in {len(found)} ways; choose one: {options}")
    others = [file for file in folder.files if file not in {*folder.images, *folder.masks}]
    raise UserError(
        f"{folder.root.absolute()}: no annotations of a known format in its {len(folder.files)} "
        f"files, {len(folder.images)} of them images; known are {', '.join(FORMATS)}"
        + (f"; the other files: {some(others, count=3)}" if others else "")
    )


def select_classes(source, names=None):
    """The classes to detect: those of these names in their order, or all that have objects.

    A class that no image shows is left out with a note, unless the list of classes is a fixed one.
    """
    if names:
        known = [*source.classes, *source.other_classes]
        unknown = [name for name in names if name not in known]
        if unknown:
            counted = " (classes are named here; they count themselves)"
            raise UserError(
                f"no class {', '.join(map(repr, unknown))}; there are {', '.join(known)}"
                + (counted if unknown[0].isdecimal() else "")
            )
        return list(names)
    alike = Counter(name.strip().lower() for name in source.classes)
    for name in source.classes:
        if alike[name.strip().lower()] > 1:
            source.notes.append(f"another class is named almost like {name!r}")
    counts = Counter(
        item.name for split in source.splits.values() for entry in split for item in entry.objects
    )
    empty = [name for name in source.classes if not counts[name]]
    if source.fixed_classes or not empty or len(empty) == len(source.classes):
        return list(source.classes)
    source.notes.append(f"classes without any object, left out: {', '.join(empty)}")
    return [name for name in source.classes if counts[name]]


class Dataset(torch.utils.data.Dataset):
    """Images with their targets, read and transformed one at a time.

    What is random about a sample follows from (seed, epoch, index) alone: it is the same whichever
    process loads it, and the same again when a run is resumed.
    """

    def __init__(self, classes, records, transform, seed=0):
        self.classes, self.records = list(classes), records
        self.transform, self.seed = transform, seed

    def __len__(self):
        return len(self.records)

    def __getitem__(self, key):
        """(epoch, index, size) -> image [H, W, 3] uint8, and its target.

        The target holds boxes [N, 4], labels [N], ignore [N], the index, and as pad_to the size
        (height, width) that its batch needs at least.
        """
        epoch, index, pad_to = key
        image, target = self.read(index, self.transform.needed_size(*self.records.sizes[index]))
        image, target = self.transform(image, target, self.random(epoch, index))
        return image, target | dict(pad_to=pad_to)

    def random(self, epoch, index):
        """The generator of everything that is random about a sample."""
        return np.random.default_rng((self.seed, epoch, index))

    def output_size(self, epoch, index):
        """(height, width) of a sample, without reading its image."""
        height, width = self.records.sizes[index]
        return self.transform.output_size(height, width, self.random(epoch, index))

    def read(self, index, needed_size=None):
        """Image and target before any transform; smaller where needed_size (height, width)
        allows."""
        records = self.records
        rows = records.objects(index)
        boxes, size = records.boxes[rows], records.sizes[index]
        image = read_image(records.path(index), size, needed_size)
        if image.shape[:2] != tuple(size):
            y_scale, x_scale = np.divide(image.shape[:2], size)
            boxes = (boxes * [x_scale, y_scale, x_scale, y_scale]).astype(np.float32)
        labels, ignore = records.labels[rows], records.ignore[rows]
        return image, dict(boxes=boxes, labels=labels, ignore=ignore, index=index)
