"""Transforms of images and their boxes between the file and the batch, in NumPy and OpenCV.

A transform takes an image [H, W, 3] uint8, its target (boxes [N, 4], labels [N], ignore [N], as
arrays) and a random generator, and returns an image and a target. It changes neither in place.

Pixels are interpolated by one of four methods:

    bytes   the fastest: a large image is first decoded smaller, or averaged to a half and so on
    whole   bilinear, from the image in full size, as published detectors expect it
    float   as whole, but the result is not rounded
    pil     by Pillow, which averages pixels where it makes an image smaller
"""

import math

import cv2
import numpy as np
from PIL import Image

# The largest factor on the sides of an expanded image. SSD, Sec. 3.6
MAX_EXPANSION = 4
# The smallest share of the image's sides in a crop, as in ssd.pytorch. The paper has 0.1 of the
# image's size (Sec. 2.2), and the authors' release 0.09 of its area.
MIN_CROP = 0.3
# The smallest IoU that a crop may have with the object it overlaps most, drawn anew for each image;
# None stands for no crop. Sec. 2.2
MIN_IOUS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
# With this many passes over the images or more, about as many as SSD's release makes over COCO, all
# of them are augmented; with fewer, a share in proportion. On BCCD, 39 passes reach AP 0.29 if all
# are and 0.55 if none is; 31 passes reach 0.57 with a quarter, and 0.55 with half of them.
FULL_STRENGTH_PASSES = 100
# Crops that are tried for one IoU before another one is drawn, as in SSD's release.
NUM_TRIALS = 50


class Resize:
    """Resizes images as RetinaNet does, keeping their aspect ratio.

    The short side gets short_side pixels, or fewer if the long side would get more than max_size.
    If short_side is a pair (smallest, largest), it is drawn anew for each image. Sides are rounded
    to whole pixels, down if floor_sizes is set, and boxes are scaled by what the sides really
    became.
    """

    def __init__(self, short_side, max_size, method="bytes", floor_sizes=False):
        self.short_side = short_side
        self.max_size = max_size
        self.method = method
        self.floor_sizes = floor_sizes

    def __call__(self, image, target, rng):
        height, width = image.shape[:2]
        new_height, new_width = self.output_size(height, width, rng)
        if (new_height, new_width) == (height, width):
            return image, target
        if self.method == "pil":
            bilinear = Image.Resampling.BILINEAR
            image = np.asarray(Image.fromarray(image).resize((new_width, new_height), bilinear))
        else:
            image = shrink(image, self.needed_size(height, width))
            if self.method == "float":
                image = image.astype(np.float32)
            image = cv2.resize(image, (new_width, new_height))
        scale = np.array([new_width / width, new_height / height] * 2, np.float32)
        return image, target | dict(boxes=target["boxes"] * scale)

    def output_size(self, height, width, rng=None):
        """The size (height, width) that an image is resized to; without a random generator, the
        largest that is possible."""
        short_side = np.max(self.short_side)
        # The first number that is drawn for a sample: Dataset.output_size draws it, too.
        if rng is not None and not np.isscalar(self.short_side):
            short_side = rng.integers(self.short_side[0], self.short_side[1] + 1)
        scale = min(short_side / min(height, width), self.max_size / max(height, width))
        to_whole = int if self.floor_sizes else round
        return max(to_whole(height * scale), 1), max(to_whole(width * scale), 1)

    def needed_size(self, height, width):
        """The smallest size (height, width) to which an image may be decoded."""
        return self.output_size(height, width) if self.method == "bytes" else (height, width)


def shrink(image, needed_size):
    """The image averaged to a half, a quarter and so on, as far as it stays large enough, like a
    JPEG that is decoded smaller."""
    height, width = image.shape[:2]
    scale = min(height / needed_size[0], width / needed_size[1])
    if scale < 2:
        return image
    factor = 2 ** int(math.log2(scale))
    # All pixels of a side are averaged, also where it is not a multiple of the factor.
    size = (round(width / factor), round(height / factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


class Stretch(Resize):
    """Resizes images as SSD does, all to one size (height, width) whatever their shape."""

    def __init__(self, size, method="bytes"):
        self.size = size
        self.method = method

    def output_size(self, height, width, rng=None):
        """The size (height, width) that an image is resized to."""
        return self.size


class RetinaNetAugmentation(Resize):
    """Resizes images, and mirrors them with probability 0.5 (RetinaNet, Sec. 4.1)."""

    def __call__(self, image, target, rng):
        image, target = super().__call__(image, target, rng)
        if rng.random() < 0.5:
            return image, target
        boxes = target["boxes"].copy()
        boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        return cv2.flip(image, 1), target | dict(boxes=boxes)


class SSDAugmentation(Stretch):
    """Expands, crops, mirrors, resizes and distorts images (SSD, Sec. 2.2 and 3.6).

    In the paper, cropping and distorting raise mAP on VOC07 from 65.5 to 74.3 (Table 2). With
    expansion and twice the iterations, it is 77.2 (Table 6).

    Expanding, cropping and mirroring only choose a window: a box that may reach beyond the image.
    Then its pixels are interpolated once, at the (height, width) that the network needs, and their
    colours are distorted. The authors distort first, so that the border of an expanded image keeps
    its colour; here the border is distorted, too.

    passes: how often the run sees every image. The more passes, the larger is strength, the
    probability with which each of expanding, cropping and distorting is tried at all; then chance
    decides as in the paper.
    """

    def __init__(self, size, colour, passes=math.inf):
        super().__init__(size)
        self.colour = tuple(round(value) for value in colour)
        self.strength = min(passes / FULL_STRENGTH_PASSES, 1.0)

    def needed_size(self, height, width):
        """The smallest size (height, width) to which an image may be decoded: the smallest crop is
        then not enlarged."""
        return [side / MIN_CROP for side in self.size]

    def __call__(self, image, target, rng):
        height, width = image.shape[:2]
        window = np.array([0, 0, width, height], np.float32)
        if rng.random() < self.strength:
            window = expand((height, width), rng)
        if rng.random() < self.strength:
            window, kept, _ = crop(window, target["boxes"], target["ignore"], rng)
            target = select(target, kept)
        mirrored = rng.random() < 0.5
        image, target = crop_and_resize(window, image, target, self.size, self.colour, mirrored)
        if rng.random() < self.strength:
            image = distort(image, rng)
        return image, target


def select(target, kept):
    """The target of those objects only for which the mask kept [N] is true."""
    return target | {name: target[name][kept] for name in ("boxes", "labels", "ignore")}


def expand(image_size, rng):
    """A window around the image, as xyxy in pixels of the image (SSD, Sec. 3.6).

    With probability 0.5 it is the image itself. Otherwise its area is up to 16 times as large, and
    the image lies somewhere in it: left and top may be negative, right and bottom over the sides.
    """
    height, width = image_size
    if rng.random() < 0.5:
        return np.array([0, 0, width, height], np.float32)
    ratio = rng.uniform(1, MAX_EXPANSION)
    left = rng.uniform(0, (ratio - 1) * width)
    top = rng.uniform(0, (ratio - 1) * height)
    return np.array([-left, -top, ratio * width - left, ratio * height - top], np.float32)


def crop(window, boxes, ignore, rng):
    """A part of the window whose IoU with an object is at least a random minimum, and which holds
    the centre of an object (SSD, Sec. 2.2).

    Returns the part as xyxy, the mask [N] of what is kept, and the minimum that was drawn. Objects
    are kept if their centres are in the part; areas to ignore always, as any of their pixels may
    show. One object with this IoU is enough: if all had to have it, crowded images would hardly
    ever be cropped. In an image without objects, any part will do. Where no part is found, another
    minimum is drawn, in the end None.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    real = boxes[~ignore]
    while True:
        min_iou = MIN_IOUS[rng.integers(len(MIN_IOUS))]
        if min_iou is None:
            return window, np.ones(len(boxes), bool), min_iou
        for _ in range(NUM_TRIALS):
            part = random_part(window, rng)
            inside = ((centres > part[:2]) & (centres < part[2:])).all(axis=1)
            if len(real) == 0:
                return part, inside | ignore, min_iou
            if overlaps(part, real).max() >= min_iou and inside[~ignore].any():
                return part, inside | ignore, min_iou


def random_part(window, rng):
    """A part of the window, as xyxy: its sides are 0.3 to 1 times those of the window, and neither
    is more than twice the other."""
    left, top, right, bottom = window.tolist()
    # A very narrow window has hardly any part with such a ratio, so any ratio will do.
    is_narrow = max(right - left, bottom - top) > 6 * min(right - left, bottom - top)
    while True:
        width = rng.uniform(MIN_CROP, 1) * (right - left)
        height = rng.uniform(MIN_CROP, 1) * (bottom - top)
        if is_narrow or width <= 2 * height and height <= 2 * width:
            break
    x = left + rng.uniform(0, right - left - width)
    y = top + rng.uniform(0, bottom - top - height)
    return np.array([x, y, x + width, y + height], np.float32)


def overlaps(part, boxes):
    """IoU of one part with boxes: [4], [N, 4] -> [N]. NumPy is faster for a few boxes."""
    sides = np.minimum(part[2:], boxes[:, 2:]) - np.maximum(part[:2], boxes[:, :2])
    shared = sides[:, 0].clip(0) * sides[:, 1].clip(0)
    part_area = (part[2] - part[0]) * (part[3] - part[1])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return shared / (part_area + areas - shared)


def crop_and_resize(window, image, target, size, colour, mirrored):
    """The pixels in a window at this size (height, width), and the objects, clipped to it.

    Beyond the image the pixels have one colour. Objects under a pixel wide or high are left out.
    """
    height, width = size
    left, top, right, bottom = window.tolist()
    x_scale = width / (right - left)
    y_scale = height / (bottom - top)
    # warpAffine counts from the centre of the first pixel, boxes from its corner, half a pixel off.
    x_shift = (0.5 - left) * x_scale - 0.5
    y_shift = (0.5 - top) * y_scale - 0.5
    boxes = (target["boxes"] - window[[0, 1, 0, 1]]) * np.array([x_scale, y_scale] * 2, np.float32)
    if mirrored:
        x_scale = -x_scale
        x_shift = width - 1 - x_shift
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    matrix = np.array([[x_scale, 0, x_shift], [0, y_scale, y_shift]])
    image = cv2.warpAffine(
        image, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=colour
    )
    boxes = boxes.clip(0, np.array([width, height] * 2, np.float32))
    kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    return image, select(target | dict(boxes=boxes), kept)


def distort(image, rng):
    """The image with other colours: brightness, contrast, saturation, hue and the order of the
    channels change, each with probability 0.5 (SSD, Sec. 2.2, after Howard, 2013).

    As in ssd.pytorch, channels change places and the hue changes by up to 18 degrees. In the
    authors' own release channels never do, and the hue changes by up to twice as much.
    """
    brightness = rng.uniform(-32, 32) if rng.random() < 0.5 else 0.0
    contrast = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    saturation = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    hue = rng.uniform(-18, 18) if rng.random() < 0.5 else 0.0  # degrees
    contrast_first = rng.random() < 0.5
    channels = rng.permutation(3) if rng.random() < 0.5 else None

    image = apply_lut(image, contrast if contrast_first else 1.0, brightness)
    if saturation != 1 or hue != 0:
        image = shift_colours(image, saturation, hue)
    if not contrast_first:
        image = apply_lut(image, contrast)
    return image if channels is None else np.ascontiguousarray(image[..., channels])


def apply_lut(image, factor, offset=0.0):
    """The image with (byte + offset) * factor instead of every byte, clipped to 0 to 255."""
    if factor == 1 and offset == 0:
        return image
    # A lookup table computes it once for each of the 256 values, not for each pixel.
    table = (np.arange(256) + offset) * factor
    return cv2.LUT(image, table.round().clip(0, 255).astype(np.uint8))


def shift_colours(image, saturation, hue):
    """The image with its saturation multiplied by a factor and its hue shifted by some degrees."""
    values = np.arange(256)
    # In images of bytes, OpenCV's unit of the hue is two degrees.
    hues = (values + round(hue / 2)) % 180
    saturations = (values * saturation).clip(0, 255)
    tables = np.stack([hues, saturations, values], axis=-1).astype(np.uint8)[None]
    image = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(image, tables), cv2.COLOR_HSV2RGB)
