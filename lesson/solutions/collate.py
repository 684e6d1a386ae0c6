"""How do images of different sizes become one tensor?

The largest height and the largest width are rounded up to a multiple of the divisor, so that no
map of the base has to cut a cell in two. Round up by adding divisor - 1 before the integer
division: what is a multiple already stays as it is. Every image is then written into a corner of
its canvas. It must be the corner at the top left, for boxes are measured from there. Images have
their channels last in files and in NumPy, but first in PyTorch; permute moves a dimension, while
reshape would only cut the same numbers differently. The targets stay a list, since every image has
a different number of objects, often 0.
"""

import numpy as np
import torch


def collate(samples, divisor, colour):
    height, width = np.max([image.shape[:2] for image, _ in samples], axis=0)
    height = (height + divisor - 1) // divisor * divisor
    width = (width + divisor - 1) // divisor * divisor
    images = np.empty((len(samples), height, width, 3), np.uint8)
    images[:] = colour
    targets = []
    for canvas, (image, target) in zip(images, samples):
        rows, columns = image.shape[:2]
        canvas[:rows, :columns] = image
        targets.append({name: torch.from_numpy(target[name]) for name in target})
    return torch.from_numpy(images).permute(0, 3, 1, 2), targets
