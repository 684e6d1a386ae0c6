"""How large a detector sees an image: transforms as those of data/augment.py, with nothing random but a size.

method is how pixels are interpolated: "bytes", the fastest, of an image that may be decoded smaller than it is; for
published detectors "whole", of all its pixels; "float", which does not round the result; or "pil", which averages what
it makes smaller.
"""
import cv2
import numpy as np
from PIL import Image


class Resize:
    """RetinaNet's: the short side to `short` pixels, but the long one never over `longest`.

    short is a number or, to draw it anew for each image, a (smallest, largest) pair. Each side is rounded, or cut to
    whole pixels if `floor`, and boxes follow what it really became.
    """

    def __init__(self, short, longest, method="bytes", floor=False):
        self.short, self.longest, self.method, self.floor = short, longest, method, floor

    def __call__(self, image, target, random):
        short = self.short if np.isscalar(self.short) else random.integers(self.short[0], self.short[1] + 1)
        return resize(image, target, self.fit(*image.shape[:2], short), self.method)

    def fit(self, height, width, short=None):
        """The size (height, width) that an image gets; with the largest of the short sides if none is given."""
        scale = min((short or np.max(self.short)) / min(height, width), self.longest / max(height, width))
        whole = int if self.floor else round
        return max(whole(height * scale), 1), max(whole(width * scale), 1)

    def enough(self, height, width):
        """How small (height, width) an image of this size may be decoded."""
        return self.fit(height, width) if self.method == "bytes" else (height, width)


class Stretch:
    """SSD's: every image to one size (height, width), whatever its aspect."""

    def __init__(self, size, method="bytes"):
        self.size, self.method = size, method

    def __call__(self, image, target, random):
        return resize(image, target, self.size, self.method)

    def fit(self, height, width):
        """The size (height, width) that an image of this size gets."""
        return self.size

    def enough(self, height, width):
        """How small (height, width) an image of this size may be decoded."""
        return self.size if self.method == "bytes" else (height, width)


def resize(image, target, size, method="bytes"):
    """Image and boxes stretched to (height, width)."""
    height, width = image.shape[:2]
    if (height, width) == tuple(size):
        return image, target
    scale = np.array([size[1] / width, size[0] / height] * 2, np.float32)
    if method == "pil":
        image = np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    else:
        image = cv2.resize(image.astype(np.float32) if method == "float" else image, (size[1], size[0]))
    return image, target | dict(boxes=target["boxes"] * scale)
