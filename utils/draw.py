"""Pictures: boxes and names drawn on them, sheets of them, and their files."""

import base64
import colorsys
import io
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from data.text import UserError
from utils.files import write

WHITE = (255, 255, 255)
BLACK = (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour(label):
    """The colour of a class: hues a golden ratio apart never come close to each other."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 1)
    return int(255 * red), int(255 * green), int(255 * blue)


def draw(image, boxes, labels, classes, scores=None, truth=()):
    """A copy of image [H, W, 3] RGB with boxes [D, 4] and their names, the first one on top.

    truth [N, 4]: other boxes, which are drawn in white and have no name.
    """
    canvas = image.copy()
    thickness = max(1, round(max(image.shape) / 500))
    scale = max(image.shape) / 1600 + 0.2
    for box in truth:
        rectangle(canvas, box, WHITE, 1)
    last_to_first = range(len(boxes))[::-1]
    for i in last_to_first:
        name = classes[labels[i]]
        text = name if scores is None else f"{name} {scores[i]:.2f}"
        draw_name(canvas, text, boxes[i], colour(labels[i]), scale)
    # After the names, so that none of them hides a box.
    for i in last_to_first:
        rectangle(canvas, boxes[i], colour(labels[i]), thickness)
    return canvas


def rectangle(canvas, box, shade, thickness):
    """Draw the sides of a box."""
    left, top, right, bottom = np.asarray(box).round().astype(int).tolist()
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), shade, thickness)


def draw_name(canvas, text, box, shade, scale):
    """Draw text on a plate above a box, or in the box at its top where there is no room above.

    The plate stays within the picture; a text that is wider than the picture loses its end.
    """
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    height += base
    left, top = np.asarray(box)[:2].round().astype(int).tolist()
    y = top - height if top >= height else top
    x = max(min(left, canvas.shape[1] - width), 0)
    y = max(min(y, canvas.shape[0] - height), 0)
    cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), shade, -1)
    write_line(canvas, text, (x, y + height - base), scale)


def write_line(canvas, text, corner, scale):
    """Write a line of text, whose lower left corner is (x, y)."""
    # OpenCV cannot draw a file's name that is not UTF-8.
    text = text.encode(errors="replace").decode()
    cv2.putText(canvas, text, corner, FONT, scale, BLACK, 1, cv2.LINE_AA)


def sheet(images, caption="", columns=4, width=320, names=()):
    """Images in rows, each at most width x width pixels, and a caption below -> one picture.

    names: a text for each image, which is written below it.
    """
    cells = []
    for image, name in zip_longest(images, names, fillvalue=""):
        picture = resize_to(image, width)
        cell = np.full((width + (24 if names else 4), width + 4, 3), 255, np.uint8)
        cell[2 : 2 + picture.shape[0], 2 : 2 + picture.shape[1]] = picture
        # The end of a long name says most.
        corner = (4, picture.shape[0] + 17)
        write_line(cell, name[-40:], corner, scale=0.45)
        cells.append(cell)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    if caption:
        strip = np.full((28, rows[0].shape[1], 3), 255, np.uint8)
        write_line(strip, caption, (8, 19), scale=0.5)
        rows.append(strip)
    return np.vstack(rows)


def resize_to(image, side):
    """The image resized, up or down, until its longer side has so many pixels."""
    scale = side / max(image.shape[:2])
    size = [max(round(length * scale), 1) for length in image.shape[1::-1]]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=method)


def save_picture(path, image, replace=False):
    """Write a picture [H, W, 3] RGB into a file, in the format that its ending says."""
    data = encode_picture(image, path.suffix)
    if data is None:
        raise UserError(f"{path}: this picture cannot be written in this format")
    write(path, data, replace)


def picture_path(name):
    """The path of a new picture that the user names."""
    path = Path(name)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"{name}: a picture's name must end with .png or .jpg")
    return path


def write_figure(path, figure, dpi):
    """Write a figure of matplotlib's, in place of the one before."""
    data = io.BytesIO()
    figure.savefig(data, dpi=dpi)
    write(path, data.getvalue(), replace=True)


def encode_picture(image, ending):
    """A picture [H, W, 3] RGB as the bytes of a file with this ending; None if it cannot be."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85] if ending.lower() in (".jpg", ".jpeg") else []
    try:
        is_encoded, data = cv2.imencode(ending, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    except cv2.error:
        return None
    return data.tobytes() if is_encoded else None


def embedded(data, ending):
    """The bytes of a picture file as a data URL, for the src of an img in HTML."""
    kind = "png" if ending == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
