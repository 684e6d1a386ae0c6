"""Datasets by name, and the one Dataset that all of them become."""
import numpy as np
import torch

from data import shapes
from data.formats import cityscapes, coco, csv_file, kitti, voc, widerface, yolo
from data.images import read_image

READERS = {"shapes": shapes.read, "coco": coco.read, "voc": voc.read, "csv": csv_file.read, "kitti": kitti.read,
           "cityscapes": cityscapes.read, "widerface": widerface.read, "yolo": yolo.read}


class Dataset(torch.utils.data.Dataset):
    """Images with their targets, read and transformed one at a time.

    What is random about a sample follows from (seed, epoch, index) alone: it is the same whichever process loads it,
    and the same again when a run is resumed.
    """

    def __init__(self, classes, records, transform, seed=0):
        self.classes, self.records, self.transform, self.seed = list(classes), records, transform, seed

    def __len__(self):
        return len(self.records)

    def __getitem__(self, key):
        """(epoch, index) -> image [H, W, 3] uint8, target: boxes [N, 4], labels [N], ignore [N], index."""
        epoch, index = key
        image, target = self.read(index, self.transform.enough(*self.records.sizes[index]))
        return self.transform(image, target, np.random.default_rng((self.seed, epoch, index)))

    def read(self, index, enough=None):
        """The same before any transform; smaller where that is still enough (height, width)."""
        records = self.records
        rows = records.objects(index)
        target = dict(boxes=records.boxes[rows], labels=records.labels[rows], ignore=records.ignore[rows], index=index)
        image = read_image(records.path(index), records.sizes[index], enough)
        if image.shape[:2] != tuple(records.sizes[index]):
            scale = np.divide(image.shape[:2], records.sizes[index])[[1, 0, 1, 0]]
            target["boxes"] = (target["boxes"] * scale).astype(np.float32)
        return image, target
