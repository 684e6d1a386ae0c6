"""Pictures: boxes and names drawn on them, sheets of them, and their files."""

import base64
import colorsys
import io
from itertools import zip_longest

import cv2
import numpy as np

from data.text import UserError
from utils.files import write

WHITE = (255, 255, 255)
BLACK = (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
COVERABLE = 8  # times the area of a name plate, from which on it does not hide a box's object


def colour(label):
    """The colour of a class: hues a golden ratio apart never come close to each other."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 1)
    return int(255 * red), int(255 * green), int(255 * blue)


def draw(image, boxes, labels, classes, scores=None, truth=()):
    """A copy of image [H, W, 3] RGB with boxes [D, 4] and their names, the first one on top.

    truth [N, 4]: other boxes, which are drawn in white and have no name.
    """
    canvas = image.copy()
    truth = np.asarray(truth).reshape(-1, 4)
    all_boxes = np.concatenate([truth, np.asarray(boxes).reshape(-1, 4)])
    thickness = max(1, round(max(image.shape) / 500))
    scale = max(image.shape) / 1600 + 0.2
    for box in truth:
        rectangle(canvas, box, WHITE, 1)
    for i in reversed(range(len(boxes))):
        box = rectangle(canvas, boxes[i], colour(labels[i]), thickness)
        name = classes[labels[i]]
        text = name if scores is None else f"{name} {scores[i]:.2f}"
        draw_name(canvas, text, box, all_boxes, colour(labels[i]), scale)
    return canvas


def rectangle(canvas, box, shade, thickness):
    """Draw a box -> its sides in whole pixels."""
    left, top, right, bottom = np.asarray(box).round().astype(int).tolist()
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), shade, thickness)
    return left, top, right, bottom


def draw_name(canvas, text, box, boxes, background, scale):
    """Draw text on a plate beside a box, if there is room where it covers no small one of boxes."""
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    corner = plate_corner(box, (width, height + base), canvas.shape[:2], boxes)
    if corner is None:
        return
    x, y = corner
    cv2.rectangle(canvas, (x, y), (x + width, y + height + base), background, -1)
    cv2.putText(canvas, text, (x, y + height + 1), FONT, scale, BLACK, 1, cv2.LINE_AA)


def plate_corner(box, plate_size, image_size, boxes):
    """The left and top of a plate beside a box, above it if possible; None if there is no room.

    plate_size: (width, height). image_size: (height, width). boxes [N, 4]: all that are drawn, of
    which it covers no small one.
    """
    left, top, right, bottom = box
    width, height = plate_size
    inside = max(min(left, image_size[1] - width), 0)
    corners = [
        (inside, top - height),
        (inside, bottom + 1),
        (right - width, top - height),
        (right - width, bottom + 1),
        (right + 1, top),
        (left - width - 1, top),
        # In the box itself, if that fills the picture.
        (inside, max(top, 0)),
    ]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    small = boxes[areas < COVERABLE * width * height]
    for x, y in corners:
        # A plate that is wider than the picture has to be cut off.
        is_inside = x >= 0 and x + width <= max(image_size[1], width)
        if not is_inside or y < 0 or y + height >= image_size[0]:
            continue
        # A plate may touch a small box, by a pixel.
        last = np.minimum(small[:, 2:], (x + width, y + height))
        first = np.maximum(small[:, :2], (x, y))
        if not (last - first > 1).all(axis=1).any():
            return int(x), int(y)
    return None


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
        cv2.putText(cell, name[-40:], corner, FONT, 0.45, BLACK, 1, cv2.LINE_AA)
        cells.append(cell)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    if caption:
        strip = np.full((28, rows[0].shape[1], 3), 255, np.uint8)
        cv2.putText(strip, caption, (8, 19), FONT, 0.5, BLACK, 1, cv2.LINE_AA)
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
    try:
        data = encode_picture(image, path.suffix)
    except cv2.error:
        raise UserError(f"{path}: a picture's name must end with .png or .jpg") from None
    write(path, data, replace)


def write_figure(path, figure, dpi):
    """Write a figure of matplotlib's, in place of the one before."""
    data = io.BytesIO()
    figure.savefig(data, dpi=dpi)
    write(path, data.getvalue(), replace=True)


def encode_picture(image, ending):
    """A picture [H, W, 3] RGB as the bytes of a file with this ending."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85] if ending.lower() in (".jpg", ".jpeg") else []
    _, data = cv2.imencode(ending, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return data.tobytes()


def embedded(data, ending):
    """The bytes of a picture file as a data URL, for the src of an img in HTML."""
    kind = "png" if ending == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
