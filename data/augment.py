"""What happens to an image and its boxes between the file and the batch: on bytes, in NumPy and OpenCV.

A transform takes an image [H, W, 3] uint8, its target (boxes [N, 4], labels [N], ignore [N], as arrays) and a random
generator, and returns image and target. It changes neither in place.
"""
import cv2
import numpy as np

from data.resize import Resize


class RetinaNetAugmentation(Resize):
    """Resize, and let left become right for every second image (RetinaNet, Sec. 4)."""

    def __call__(self, image, target, random):
        image, target = super().__call__(image, target, random)
        if random.random() < 0.5:
            return image, target
        boxes = target["boxes"].copy()
        boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        return cv2.flip(image, 1), target | dict(boxes=boxes)


class SSDAugmentation:
    """Expand, crop, mirror, resize and distort (SSD, Sec. 2.2 and 3.6): what lifts VOC from 58 to 77 mAP.

    The first four only decide which window of the plane, the image somewhere on it, the network will see. The pixels of
    that window are then fetched once, at the size (height, width) they are wanted, and distorted; the ground around the
    image with them, where the authors distort first.
    """

    def __init__(self, size, colour):
        self.size, self.colour = size, tuple(round(value) for value in colour)

    def enough(self, height, width):
        """How small (height, width) an image may be decoded, so that the smallest crop still has all its pixels."""
        return [side / SMALLEST for side in self.size]

    def __call__(self, image, target, random):
        window = expand(image.shape[:2], random)
        window, kept, _ = crop(window, target["boxes"], target["ignore"], random)
        image, target = look_through(window, image, select(target, kept), self.size, self.colour, random.random() < 0.5)
        return distort(image, random), target


def select(target, kept):
    """The target with those objects only for which the mask kept [N] is true."""
    return target | {name: target[name][kept] for name in ("boxes", "labels", "ignore")}


LARGEST, SMALLEST = 4, 0.3  # times the image's sides, when it is expanded and when it is cropped
CROPS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)  # the IoU a crop has with some object; None: no crop. Sec. 2.2
TRIALS = 50  # of one of them, before another is tried


def expand(image_size, random):
    """Every second time, a window up to 16 times the image's area, with the image somewhere in it -> xyxy.

    Its pixels are the image's: where the window goes beyond the image, coordinates are below 0 or over its sides.
    """
    height, width = image_size
    if random.random() < 0.5:
        return np.array([0, 0, width, height], np.float32)
    ratio = random.uniform(1, LARGEST)
    left, top = random.uniform(0, (ratio - 1) * width), random.uniform(0, (ratio - 1) * height)
    return np.array([-left, -top, ratio * width - left, ratio * height - top], np.float32)


def crop(window, boxes, ignore, random):
    """A part of the window that overlaps some object enough -> its xyxy, mask [N] of the objects in it, and the mode.

    Sides are 0.3 to 1 of the window's, their ratio within 1/2 and 2. An object is in it if its centre is. One object
    that reaches the IoU is enough: if all had to, crowded images would hardly ever be cropped. Without any object,
    every part will do.
    """
    left, top, right, bottom = window
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    while True:
        mode = CROPS[random.integers(len(CROPS))]
        if mode is None:
            return window, np.ones(len(boxes), bool), mode
        size = random.uniform(SMALLEST, 1, (TRIALS, 2)) * (right - left, bottom - top)
        corner = (left, top) + random.uniform(0, 1, (TRIALS, 2)) * ((right - left, bottom - top) - size)
        parts = np.concatenate([corner, corner + size], axis=1)
        ratio = size[:, 0] / size[:, 1]
        inside = ((centres > parts[:, None, :2]) & (centres < parts[:, None, 2:])).all(axis=2)
        reaches = (overlaps(parts, boxes) >= mode) & ~ignore
        fits = (ratio >= 0.5) & (ratio <= 2)
        if not ignore.all():
            fits &= (reaches.any(axis=1)) & (inside & ~ignore).any(axis=1)
        if fits.any():
            first = fits.argmax()
            return parts[first].astype(np.float32), inside[first], mode


def overlaps(parts, boxes):
    """IoU of every pair: [T, 4], [N, 4] -> [T, N]."""
    sides = np.minimum(parts[:, None, 2:], boxes[:, 2:]) - np.maximum(parts[:, None, :2], boxes[:, :2])
    shared = sides.clip(min=0).prod(axis=2)
    areas = (parts[:, 2:] - parts[:, :2]).prod(axis=1)[:, None] + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return shared / (areas - shared)


def look_through(window, image, target, size, colour, mirrored):
    """The window's pixels [size] and objects, cut at its border; beyond the image there is one colour."""
    height, width = size
    left, top, right, bottom = window.tolist()
    x_scale, y_scale = width / (right - left), height / (bottom - top)
    # Pixel centres lie at half integers: hence the halves.
    x_shift, y_shift = (0.5 - left) * x_scale - 0.5, (0.5 - top) * y_scale - 0.5
    boxes = (target["boxes"] - window[[0, 1, 0, 1]]) * np.array([x_scale, y_scale] * 2, np.float32)
    if mirrored:
        x_scale, x_shift = -x_scale, width - 1 - x_shift
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    matrix = np.array([[x_scale, 0, x_shift], [0, y_scale, y_shift]])
    image = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=colour)
    boxes = boxes.clip(0, np.array([width, height] * 2, np.float32))
    kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    return image, select(target | dict(boxes=boxes), kept)


def distort(image, random):
    """Brightness, contrast (before or after the colours), saturation, hue and swapped channels, each every second time.

    Brightness and contrast are one table of 256 entries; so are saturation and hue, in a colour space of their own.
    """
    brightness, contrast, saturation, hue, swap, early = random.random(6) < 0.5
    bright = random.uniform(-32, 32) * brightness
    steep = random.uniform(0.5, 1.5) if contrast else 1.0
    vivid = random.uniform(0.5, 1.5) if saturation else 1.0
    turn = random.uniform(-18, 18) * hue  # degrees
    order = random.permutation(3) if swap else None

    image = tabulate(image, steep if early else 1.0, bright)
    if saturation or hue:
        # In bytes, OpenCV counts a hue in steps of two degrees.
        levels = np.arange(256)
        tables = np.stack([(levels + round(turn / 2)) % 180, (levels * vivid).clip(0, 255), levels], axis=-1)
        image = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        image = cv2.cvtColor(cv2.LUT(image, tables.astype(np.uint8)[None]), cv2.COLOR_HSV2RGB)
    image = tabulate(image, 1.0 if early else steep, 0)
    return image if order is None else np.ascontiguousarray(image[..., order])


def tabulate(image, factor, offset):
    """Every byte times a factor plus an offset, within 0 and 255."""
    if factor == 1 and offset == 0:
        return image
    table = (np.arange(256) + offset) * factor
    return cv2.LUT(image, table.round().clip(0, 255).astype(np.uint8))
