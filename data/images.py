"""Image files of any kind, as three channels of 8 bits, the right way up."""

import os
import struct

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from data.text import UserError

# The loader's processes share the cores; threads inside each would only be in each other's way.
cv2.setNumThreads(0)
# What OpenCV thinks of a file goes into our own errors, or is of no use to the user.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
JPEG = b"\xff\xd8"  # its first two bytes
PNG = b"\x89PNG"
GREY, PALETTE = 0, 3  # of a PNG: the byte behind its sizes and the depth of its pixels
REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # EXIF: the tag, and its values that swap the sides
MAX_PIXELS = 1 << 30  # OpenCV decodes no larger images


def image_size(path):
    """(height, width) as the image is shown, from the head of its file alone."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            sideways = image.getexif().get(ORIENTATION) in SIDEWAYS and image.format != "TIFF"
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except UnidentifiedImageError:
        # Pillow does not know every kind that OpenCV decodes, as TIFF with channels of floats.
        return read_image(path).shape[:2]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image ({error})") from None
    if width * height > MAX_PIXELS:
        raise UserError(f"{path}: {width} x {height} pixels are too many to be read")
    return (width, height) if sideways else (height, width)


def read_image(path, size=None, needed_size=None):
    """[H, W, 3] RGB uint8 of a file, rotated as its EXIF data says.

    Grey, palette, alpha, CMYK and 16-bit images are converted; floats are taken as 0 to 1, or else
    stretched from their smallest to their largest value.

    size (height, width) is the annotation's. Where it is that of the picture before rotation, so
    are the boxes, and the picture is not rotated. A JPEG is decoded at a half, a quarter or an
    eighth of its size, several times faster, where that is still at least needed_size (height,
    width).
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    factor = 1
    if needed_size is not None and data[:2].tobytes() == JPEG:
        factor = reduction(size, needed_size)
    image = decode_image(data, REDUCED[factor], path)
    if size is not None:
        reduced_size = (ceil_divide(size[0], factor), ceil_divide(size[1], factor))
        if image.shape[:2] != reduced_size:
            image = decode_image(data, REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION, path)
        if image.shape[:2] != reduced_size:
            whole = decode_image(data, cv2.IMREAD_COLOR, path)
            raise UserError(size_message(path, whole.shape[:2], size))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def size_message(path, size, annotated):
    """What is wrong where an image and its annotation tell two sizes (height, width)."""
    return (
        f"{path}: {size[1]} x {size[0]} pixels, but its annotation says "
        f"{annotated[1]} x {annotated[0]}"
    )


def reduction(size, needed_size):
    """The largest of 8, 4, 2, 1 by which an image of this size may be divided."""
    for factor in (8, 4, 2):
        if size[0] >= needed_size[0] * factor and size[1] >= needed_size[1] * factor:
            return factor
    return 1


def ceil_divide(number, divisor):
    """The quotient, rounded up."""
    return -(-int(number) // divisor)


def decode_image(data, flags, path):
    """The pixels [H, W, 3] BGR of an encoded image, or an error with the file's name."""
    if not len(data):
        raise UserError(f"{path}: an empty file")
    try:
        image = cv2.imdecode(data, flags)
        if image is None:
            image = convert_floats(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f"{path}: not a readable image")
    return image


def convert_floats(image):
    """An image of floats [H, W] or [H, W, C] as BGR bytes; None where it is none."""
    if image is None or image.dtype not in (np.float16, np.float32, np.float64):
        return None
    image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    low, high = float(image.min()), float(image.max())
    if 0 <= low and high <= 1:
        low, high = 0.0, 1.0
    image = ((image - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[..., :3])


def image_files(folder):
    """Every image of a folder and its subfolders, by name."""
    found = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.lower().endswith(EXTENSIONS))


def looks_like_mask(path):
    """Whether a file is a PNG of one channel, or of a palette, in which large areas are equal."""
    if not str(path).lower().endswith(".png"):
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(26)
        length = os.path.getsize(path)
    except OSError:
        return False
    if len(head) < 26 or not head.startswith(PNG):
        return False
    width, height = struct.unpack(">II", head[16:24])
    # A photo takes about a byte for each pixel, a mask a small part of it, besides its palette.
    return head[25] in (GREY, PALETTE) and length < width * height / 8 + 1024


def is_exif_rotated(path):
    """Whether the photo's EXIF data say that it is to be rotated sideways.

    Not so of a TIFF: every program reads it the right way up, and no boxes are drawn before.
    """
    try:
        with Image.open(path) as image:
            return image.format != "TIFF" and image.getexif().get(ORIENTATION) in SIDEWAYS
    except (OSError, SyntaxError, ValueError):
        return False  # a kind that Pillow does not know
