"""Read image files of any kind as three channels of 8 bits, the right way up."""

import base64
import binascii
import io
import math
import os
from contextlib import suppress

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data.text import MissingFile, UserError, file_errors, read_json

# Several processes load images and share the cores: threads in each of them would only compete.
cv2.setNumThreads(0)
# What OpenCV warns of is in our own errors, or does not help the user.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif",
    ".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
# The bytes that a JPEG and a PNG begin with, and those of an AVIF after the first four.
JPEG = b"\xff\xd8"
PNG = b"\x89PNG"
AVIF = b"ftypavi"
# The modes in which Pillow opens a PNG of one channel: black and white, grey, 16 bits, a palette.
MASK_MODES = ("1", "L", "I", "I;16", "P")
# What Pillow raises about a file that it cannot read.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# How OpenCV is told to decode an image at a fraction of its size.
REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
# EXIF's tag for the orientation of a photo, and those of its values that swap width and height.
ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)
MAX_PIXELS = 1 << 30  # OpenCV decodes no larger images
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


def open_image(path):
    """An image file, opened to be read; of a labelme file, the picture that is in it as imageData,
    which labelme writes if it is asked to."""
    if not str(path).lower().endswith(".json"):
        with file_errors(path):
            try:
                return open(path, "rb")
            except FileNotFoundError:
                raise MissingFile(f"{path}: no such image") from None
    try:
        return io.BytesIO(base64.b64decode(read_json(path)["imageData"], validate=True))
    except (KeyError, TypeError, binascii.Error) as error:
        raise UserError(f"{path}: no picture in its imageData ({error})") from None


def image_size(path):
    """(height, width) of an image as it is shown, read from the beginning of its file only."""
    return size_and_orientation(path)[0]


def size_and_orientation(path):
    """(height, width) of an image as it is shown, and its EXIF orientation, a number from 1 to 8.

    That of a TIFF counts as 1, upright: programs show it rotated, so that boxes are not drawn
    before the rotation.
    """
    with open_image(path) as file:
        try:
            with Image.open(file) as image:
                width, height = image.size
                orientation = 1 if image.format == "TIFF" else image.getexif().get(ORIENTATION, 1)
        except UnidentifiedImageError:
            # OpenCV decodes some kinds that Pillow does not know, such as TIFF files of floats.
            return read_image(path).shape[:2], 1
        except UNREADABLE as error:
            raise UserError(f"{path}: not a readable image ({error})") from None
    if width * height > MAX_PIXELS:
        raise UserError(f"{path}: {width} x {height} pixels are too many to be read")
    return (width, height) if orientation in SIDEWAYS else (height, width), orientation


def reduction(size, needed_size):
    """8, 4, 2 or 1, by which an image's sides can be divided and are still as large as needed.

    Both are whole multiples of it: JPEG decoders round other sides up, and objects in the image
    would no longer be where their boxes are.
    """
    scale = min(size[0] / needed_size[0], size[1] / needed_size[1])
    common = math.gcd(*map(int, size))
    return next((factor for factor in (8, 4, 2) if factor <= scale and common % factor == 0), 1)


def read_image(path, size=None, needed_size=None):
    """The pixels of an image file, [H, W, 3] RGB uint8, rotated as its EXIF data say.

    Grey, palette, alpha, CMYK and 16-bit images are converted. Floats are expected to be from 0 to
    1; if some are not, the range from the smallest to the largest value is used instead.

    size is the (height, width) in the annotation. If it is the size before the rotation, the boxes
    were drawn before it, too, and the image is not rotated. If needed_size (height, width) is
    given, a JPEG is decoded at a half, a quarter or an eighth of its size, as small as is still
    large enough, which is several times faster.
    """
    with file_errors(path), open_image(path) as file:
        data = np.frombuffer(file.read(), np.uint8)
    factor = 1
    if needed_size is not None and data[:2].tobytes() == JPEG:
        factor = reduction(size, needed_size)
    image = decode_image(data, REDUCED[factor], path)
    if size is not None:
        reduced_size = (size[0] // factor, size[1] // factor)
        if image.shape[:2] != reduced_size:
            image = decode_image(data, REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION, path)
        if image.shape[:2] != reduced_size:
            whole = decode_image(data, cv2.IMREAD_COLOR, path)
            raise UserError(size_message(path, whole.shape[:2], size))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def size_message(path, size, annotated):
    """The message for an image whose (height, width) is not the one in its annotation."""
    return (
        f"{path}: {size[1]} x {size[0]} pixels, but its annotation says "
        f"{annotated[1]} x {annotated[0]}"
    )


def decode_image(data, flags, path):
    """The pixels of an encoded image, [H, W, 3] BGR; an error names the file."""
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
    if data[4:11].tobytes() == AVIF and not flags & cv2.IMREAD_IGNORE_ORIENTATION:
        # OpenCV does not rotate it. Older releases of Pillow cannot read it, nor its orientation.
        with suppress(*UNREADABLE), Image.open(io.BytesIO(data)) as file:
            image = cv2.cvtColor(from_pillow(file), cv2.COLOR_RGB2BGR)
    return image


def from_pillow(image):
    """The pixels of a Pillow image, as read_image returns those of its file."""
    image = ImageOps.exif_transpose(image)
    # Pillow itself would cut integers over 255, so that a 16-bit photo became white.
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        return convert_floats(np.asarray(image))
    return np.array(image.convert("RGB"))


def convert_floats(image):
    """An image of floats, [H, W] or [H, W, C], as [H, W, 3] BGR bytes; None if it is not one."""
    if image is None or image.dtype not in (np.float16, np.float32, np.float64):
        return None
    image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    low, high = float(image.min()), float(image.max())
    if 0 <= low and high <= 1:
        # Most programs write 0 for black and 1 for white: a dark image has to stay dark.
        low, high = 0.0, 1.0
    image = ((image - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[..., :3])


def looks_like_mask(path):
    """Whether a file is a PNG with one channel or a palette, and mostly of uniform areas."""
    if not str(path).lower().endswith(".png"):
        return False
    try:
        with Image.open(path) as image:
            width, height = image.size
            # A grey photo takes about a byte per pixel, a mask far less; a palette takes up to 768.
            is_small = os.path.getsize(path) < width * height / 8 + 1024
            return is_small and image.format == "PNG" and image.mode in MASK_MODES
    except UNREADABLE:
        return False


def is_exif_rotated(path):
    """Whether a photo's EXIF data say that it is to be rotated by 90 degrees, whichever way."""
    try:
        return size_and_orientation(path)[1] in SIDEWAYS
    except UserError:
        return False
