"""Image files of any kind, as three channels of 8 bits, the right way up."""
import os

import cv2
import numpy as np
from PIL import Image

from data.errors import UserError

# The loader's processes share the cores among them; threads inside each would only be in each other's way.
cv2.setNumThreads(0)

JPEG = b"\xff\xd8"  # the first two bytes of one
REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # EXIF: the tag, and its values that swap height and width


def image_size(path):
    """(height, width) as the image is shown, from the head of its file alone."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            sideways = image.getexif().get(ORIENTATION) in SIDEWAYS
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image ({error})") from None
    return (width, height) if sideways else (height, width)


def read_image(path, size=None, enough=None):
    """[H, W, 3] RGB uint8 of a file, turned as its EXIF data says; grey, palette, alpha, 16 bits, CMYK are all welcome.

    size (height, width) is what the annotations believe. Where it is that of the picture before turning, so are the
    boxes, and the picture is not turned. Where half, a quarter or an eighth of it is still enough (height, width),
    a JPEG comes as small, for it is then decoded several times faster.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    flags, small = cv2.IMREAD_COLOR, size
    for factor, flag in REDUCED.items() if enough is not None and data[:2].tobytes() == JPEG else ():
        if (np.array(size) >= np.multiply(enough, factor)).all():
            flags, small = flag, [-(-side // factor) for side in size]
    image = decode(data, flags, path)
    if size is not None and image.shape[:2] != tuple(small):
        image = decode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION, path)
        if image.shape[:2] != tuple(small):
            height, width = decode(data, cv2.IMREAD_COLOR, path).shape[:2]
            raise UserError(f"{path}: {width} x {height} pixels, but its annotation says {size[1]} x {size[0]}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def decode(data, flags, path):
    """The pixels of an encoded image, or an error with the file's name."""
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f"{path}: {'not a readable image' if len(data) else 'an empty file'}")
    return image


def image_files(folder):
    """Every image of a folder and its subfolders, by name."""
    found = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.lower().endswith(EXTENSIONS))


def turned(path):
    """Whether the photo's EXIF data say that it is to be turned sideways."""
    with Image.open(path) as image:
        return image.getexif().get(ORIENTATION) in SIDEWAYS
