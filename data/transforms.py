"""What happens to an image and its boxes between the file and the batch: on bytes, in NumPy and
OpenCV.

A transform takes an image [H, W, 3] uint8, its target (boxes [N, 4], labels [N], ignore [N], as
arrays) and a random generator, and returns image and target. It changes neither in place.

method is how pixels are interpolated: "bytes", the fastest, of an image that may be decoded smaller
than it is; for published detectors "whole", of all its pixels; "float", which does not round the
result; or "pil", which averages what it makes smaller.
"""

import cv2
import numpy as np
from PIL import Image

MAX_EXPANSION = 4  # times the image's sides. SSD, Sec. 3.6
MIN_CROP = 0.3  # of the image's sides, as in ssd.pytorch; the paper has 0.1 of its area. Sec. 2.2
# The IoU that a crop has with some object; None: no crop. Sec. 2.2
MIN_IOUS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
TRIALS = 50  # of one of them, before another is drawn


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


class RetinaNetAugmentation(Resize):
    """Resize, and mirror every second image (RetinaNet, Sec. 4)."""

    def __call__(self, image, target, random):
        image, target = super().__call__(image, target, random)
        if random.random() < 0.5:
            return image, target
        boxes = target["boxes"].copy()
        boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        return cv2.flip(image, 1), target | dict(boxes=boxes)


class SSDAugmentation:
    """Expand, crop, mirror, resize and distort (SSD, Sec. 2.2 and 3.6).

    The paper reports 65.5 mAP on VOC07 without, 74.3 with, and 77.2 since it expands images too.

    The first four only decide which window of the plane, the image somewhere on it, the network
    will see. Its pixels are then fetched once, at the size (height, width) that is wanted, and
    distorted. The border around an expanded image is distorted with it, where the authors distort
    first.
    """

    def __init__(self, size, colour):
        self.size, self.colour = size, tuple(round(value) for value in colour)

    def output_size(self, height, width, random=None):
        """The size (height, width) that an image of this size gets."""
        return self.size

    def needed_size(self, height, width):
        """How small an image may be decoded for the smallest crop to have all its pixels."""
        return [side / MIN_CROP for side in self.size]

    def __call__(self, image, target, random):
        window = expand(image.shape[:2], random)
        window, kept, _ = crop(window, target["boxes"], target["ignore"], random)
        target = select(target, kept)
        mirrored = random.random() < 0.5
        image, target = crop_and_resize(window, image, target, self.size, self.colour, mirrored)
        return distort(image, random), target


def select(target, kept):
    """The target with only those objects for which the mask kept [N] is true."""
    return target | {name: target[name][kept] for name in ("boxes", "labels", "ignore")}


def expand(image_size, random):
    """Every second time, a window up to 16 times the image's area, the image somewhere in it ->
    xyxy.

    Its pixels are the image's: beyond the image, coordinates are below 0 or over its sides.
    """
    height, width = image_size
    if random.random() < 0.5:
        return np.array([0, 0, width, height], np.float32)
    ratio = random.uniform(1, MAX_EXPANSION)
    left, top = random.uniform(0, (ratio - 1) * width), random.uniform(0, (ratio - 1) * height)
    return np.array([-left, -top, ratio * width - left, ratio * height - top], np.float32)


def crop(window, boxes, ignore, random):
    """A part of the window that overlaps some object enough (SSD, Sec. 2.2).

    Returns its xyxy, the mask [N] of the objects in it, and the IoU that was asked for. An object
    is in it if its centre is. One object that reaches the IoU is enough: if all had to, crowded
    images would hardly ever be cropped. Without any object, every part will do.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    real = boxes[~ignore]
    while True:
        min_iou = MIN_IOUS[random.integers(len(MIN_IOUS))]
        if min_iou is None:
            return window, np.ones(len(boxes), bool), min_iou
        for _ in range(TRIALS):
            part = random_part(window, random)
            if len(real) and overlaps(part, real).max() < min_iou:
                continue
            inside = ((centres > part[:2]) & (centres < part[2:])).all(axis=1)
            if not len(real) or inside[~ignore].any():
                return part, inside, min_iou


def random_part(window, random):
    """A part of the window with sides of 0.3 to 1 of its own, their ratio within 1/2 and 2."""
    left, top, right, bottom = window.tolist()
    # A very narrow window has hardly a part of such a ratio: then any will do.
    narrow = max(right - left, bottom - top) > 6 * min(right - left, bottom - top)
    while True:
        width = random.uniform(MIN_CROP, 1) * (right - left)
        height = random.uniform(MIN_CROP, 1) * (bottom - top)
        if width <= 2 * height and height <= 2 * width or narrow:
            break
    x = left + random.uniform(0, right - left - width)
    y = top + random.uniform(0, bottom - top - height)
    return np.array([x, y, x + width, y + height], np.float32)


def overlaps(part, boxes):
    """IoU of one part [4] with boxes [N, 4] -> [N], in NumPy: of few boxes, torch is slower."""
    sides = np.minimum(part[2:], boxes[:, 2:]) - np.maximum(part[:2], boxes[:, :2])
    shared = sides[:, 0].clip(0) * sides[:, 1].clip(0)
    part_area = (part[2] - part[0]) * (part[3] - part[1])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return shared / (part_area + areas - shared)


def crop_and_resize(window, image, target, size, colour, mirrored=False):
    """The window's pixels at this size (height, width), and its objects cut at the border.

    What lies beyond the image has one colour; objects of less than a pixel are left out.
    """
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
    image = cv2.warpAffine(
        image, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=colour
    )
    boxes = boxes.clip(0, np.array([width, height] * 2, np.float32))
    kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    return image, select(target | dict(boxes=boxes), kept)


def distort(image, random):
    """Brightness, contrast, saturation, hue and the order of the channels, each every second time.

    As in ssd.pytorch (Howard, 2013, is the paper's source): contrast comes before the colours or
    after them, and channels change places, which Caffe's release of SSD never does.
    """
    brightness = random.uniform(-32, 32) if random.random() < 0.5 else 0.0
    contrast = random.uniform(0.5, 1.5) if random.random() < 0.5 else 1.0
    saturation = random.uniform(0.5, 1.5) if random.random() < 0.5 else 1.0
    hue = random.uniform(-18, 18) if random.random() < 0.5 else 0.0  # degrees
    contrast_first = random.random() < 0.5
    channels = random.permutation(3) if random.random() < 0.5 else None

    image = apply_lut(image, contrast if contrast_first else 1.0, brightness)
    if saturation != 1 or hue != 0:
        image = shift_colours(image, saturation, hue)
    if not contrast_first:
        image = apply_lut(image, contrast)
    return image if channels is None else np.ascontiguousarray(image[..., channels])


def apply_lut(image, factor, offset=0.0):
    """Every byte plus an offset, times a factor, within 0 and 255, by a table of 256 entries."""
    if factor == 1 and offset == 0:
        return image
    table = (np.arange(256) + offset) * factor
    return cv2.LUT(image, table.round().clip(0, 255).astype(np.uint8))


def shift_colours(image, saturation, hue):
    """The saturation times a factor, and the hue plus some degrees, by a table for each of H, S,
    V."""
    values = np.arange(256)
    # In bytes, OpenCV counts a hue in steps of two degrees.
    hues = (values + round(hue / 2)) % 180
    saturations = (values * saturation).clip(0, 255)
    tables = np.stack([hues, saturations, values], axis=-1).astype(np.uint8)[None]
    image = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(image, tables), cv2.COLOR_HSV2RGB)
