"""Boxes on pictures."""

import base64
import colorsys

import cv2
import numpy as np

from data.text import UserError
from utils.files import write

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
SMALL = 8  # times the area of a name's plate: a box that it could hide the object of


def colour(label):
    """A class's colour: hues a golden ratio apart never come close together."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 1)
    return int(255 * red), int(255 * green), int(255 * blue)


def draw(image, boxes, labels, classes, scores=None, truth=()):
    """A copy of image [H, W, 3] RGB with named boxes on it, the best on top; truth [N, 4] in
    white."""
    canvas, truth = image.copy(), np.asarray(truth).reshape(-1, 4)
    there = np.concatenate([truth, np.asarray(boxes).reshape(-1, 4)])
    thickness = max(1, round(max(image.shape) / 500))
    scale = max(image.shape) / 1600 + 0.2
    for box in truth:
        rectangle(canvas, box, WHITE, 1)
    for i in reversed(range(len(boxes))):
        box = rectangle(canvas, boxes[i], colour(labels[i]), thickness)
        name = classes[labels[i]]
        text = name if scores is None else f"{name} {scores[i]:.2f}"
        label_plate(canvas, text, box, there, colour(labels[i]), scale)
    return canvas


def rectangle(canvas, box, shade, thickness):
    """Draw a box, and return its sides in whole pixels."""
    left, top, right, bottom = np.asarray(box).round().astype(int).tolist()
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), shade, thickness)
    return left, top, right, bottom


def label_plate(canvas, text, box, others, background, scale):
    """Dark text on a bright plate beside a box (left, top, right, bottom), where it covers no small
    one of the others [N, 4]; nothing where there is no such place."""
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    corner = plate_corner(box, (width, height + base), canvas.shape[:2], others)
    if corner is None:
        return
    x, y = corner
    cv2.rectangle(canvas, (x, y), (x + width, y + height + base), background, -1)
    cv2.putText(canvas, text, (x, y + height + 1), FONT, scale, BLACK, 1, cv2.LINE_AA)


def plate_corner(box, plate_size, image_size, others):
    """The left and top of a plate (width, height) beside a box: above it if possible."""
    left, top, right, bottom = box
    width, height = plate_size
    within = max(min(left, image_size[1] - width), 0)
    places = [
        (within, top - height),
        (within, bottom + 1),
        (right - width, top - height),
        (right - width, bottom + 1),
        (right + 1, top),
        (left - width - 1, top),
        (within, max(top, 0)),  # within the box, where it fills the picture
    ]
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    small = others[areas < SMALL * width * height]
    for x, y in places:
        if x < 0 or y < 0 or y + height >= image_size[0]:
            continue
        sides = np.minimum(small[:, 2:], (x + width, y + height)) - np.maximum(small[:, :2], (x, y))
        if not (sides > 1).all(axis=1).any():
            return int(x), int(y)
    return None


def sheet(images, caption="", columns=4, width=320):
    """Pictures side by side in rows, each at most width x width pixels -> one picture."""
    cells = []
    for image in images:
        scale = width / max(image.shape[:2])
        size = [max(round(side * scale), 1) for side in image.shape[1::-1]]
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(image, size, interpolation=method)[:width, :width]
        cell = np.full((width + 4, width + 4, 3), 255, np.uint8)
        cell[2 : 2 + picture.shape[0], 2 : 2 + picture.shape[1]] = picture
        cells.append(cell)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    if caption:
        strip = np.full((28, rows[0].shape[1], 3), 255, np.uint8)
        cv2.putText(strip, caption, (8, 19), FONT, 0.5, BLACK, 1, cv2.LINE_AA)
        rows.append(strip)
    return np.vstack(rows)


def save_picture(path, image, replace=False):
    """Write a picture [H, W, 3] RGB in the format of its name, as files.write does."""
    try:
        data = encode_picture(image, path.suffix)
    except cv2.error:
        ending = repr(path.suffix)
        raise UserError(f"{path}: no picture has the ending {ending}; use .png or .jpg") from None
    write(path, data, replace)


def encode_picture(image, ending):
    """The bytes of a file with this ending of a picture [H, W, 3] RGB."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85] if ending.lower() in (".jpg", ".jpeg") else []
    _, data = cv2.imencode(ending, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return data.tobytes()


def embedded(data, ending):
    """A picture file's bytes as an address that holds them, for HTML."""
    kind = "png" if ending == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
