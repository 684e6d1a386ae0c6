"""Dataset: the images and targets that a network learns from, made of records by a transform."""

import numpy as np
import torch

from data.images import read_image


class Dataset(torch.utils.data.Dataset):
    """Images and their targets, read from files and transformed one at a time.

    All that is random about a sample depends on (seed, epoch, index) only, so it is the same in
    whichever process the sample is loaded, and again after a run has been resumed.
    """

    def __init__(self, classes, records, transform, seed=0):
        self.classes = list(classes)
        self.records = records
        self.transform = transform
        self.seed = seed

    def __len__(self):
        return len(self.records)

    def __getitem__(self, key):
        """The image [H, W, 3] uint8 of a key (epoch, index, pad_to), and its target.

        The target holds boxes [N, 4], labels [N], ignore [N], the index, and pad_to, the smallest
        size (height, width) that its batch may have.
        """
        epoch, index, pad_to = key
        image, target = self.read(index, self.transform.needed_size(*self.records.sizes[index]))
        image, target = self.transform(image, target, self.random(epoch, index))
        return image, target | dict(pad_to=pad_to)

    def random(self, epoch, index):
        """The generator of all random numbers for one sample."""
        return np.random.default_rng((self.seed, epoch, index))

    def output_size(self, epoch, index):
        """(height, width) of a sample, known without reading its image."""
        height, width = self.records.sizes[index]
        return self.transform.output_size(height, width, self.random(epoch, index))

    def read(self, index, needed_size=None):
        """The image and its target before any transform.

        The image may be decoded smaller than it is, but at least as large as needed_size (height,
        width). The boxes are scaled with it.
        """
        records = self.records
        rows = records.objects(index)
        boxes = records.boxes[rows]
        size = records.sizes[index]
        image = read_image(records.path(index), size, needed_size)
        if image.shape[:2] != tuple(size):
            y_scale, x_scale = np.divide(image.shape[:2], size)
            boxes = (boxes * [x_scale, y_scale, x_scale, y_scale]).astype(np.float32)
        target = dict(boxes=boxes, labels=records.labels[rows], ignore=records.ignore[rows])
        return image, target | dict(index=index)
