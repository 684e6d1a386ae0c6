"""How large a detector sees an image: transforms with nothing random but a size.

A transform takes an image [H, W, 3], its target and a random generator, and returns image and
target.

method is how pixels are interpolated: "bytes", the fastest, of an image that may be decoded smaller
than it is; for published detectors "whole", of all its pixels; "float", which does not round the
result; or "pil", which averages what it makes smaller.
"""

import cv2
import numpy as np
from PIL import Image


class Resize:
    """RetinaNet's: the short side to short_side pixels, but the long one never over max_size.

    short_side is a number or, to draw it anew for each image, a (smallest, largest) pair. Each side
    is rounded, or cut to whole pixels if floor_sizes, and boxes follow what it really became.
    """

    def __init__(self, short_side, max_size, method="bytes", floor_sizes=False):
        self.short_side, self.max_size = short_side, max_size
        self.method, self.floor_sizes = method, floor_sizes

    def __call__(self, image, target, random):
        size = self.output_size(*image.shape[:2], random)
        return resize(image, target, size, self.method)

    def output_size(self, height, width, random=None):
        """The size (height, width) that an image gets; the largest it can get without a
        generator."""
        short_side = np.max(self.short_side)
        if random is not None and not np.isscalar(self.short_side):
            short_side = random.integers(self.short_side[0], self.short_side[1] + 1)
        scale = min(short_side / min(height, width), self.max_size / max(height, width))
        whole = int if self.floor_sizes else round
        return max(whole(height * scale), 1), max(whole(width * scale), 1)

    def needed_size(self, height, width):
        """How small (height, width) an image of this size may be decoded."""
        return self.output_size(height, width) if self.method == "bytes" else (height, width)


class Stretch:
    """SSD's: every image to one size (height, width), whatever its aspect."""

    def __init__(self, size, method="bytes"):
        self.size, self.method = size, method

    def __call__(self, image, target, random):
        return resize(image, target, self.size, self.method)

    def output_size(self, height, width, random=None):
        """The size (height, width) that an image of this size gets."""
        return self.size

    def needed_size(self, height, width):
        """How small (height, width) an image of this size may be decoded."""
        return self.size if self.method == "bytes" else (height, width)


def resize(image, target, size, method="bytes"):
    """Image and boxes stretched to (height, width)."""
    height, width = image.shape[:2]
    if (height, width) == tuple(size):
        return image, target
    scale = np.array([size[1] / width, size[0] / height] * 2, np.float32)
    if method == "pil":
        pillow = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
        image = np.asarray(pillow)
    else:
        pixels = image.astype(np.float32) if method == "float" else image
        image = cv2.resize(pixels, (size[1], size[0]))
    return image, target | dict(boxes=target["boxes"] * scale)
