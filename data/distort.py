"""Photometric distortion: other colours, the same boxes."""

import cv2
import numpy as np


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
