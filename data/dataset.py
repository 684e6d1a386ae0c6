"""A Dataset: the samples that records and a transform make, an image at a time."""

import numpy as np
import torch

from data.images import read_image


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
