"""Boxes on pictures."""

import colorsys

import cv2
import numpy as np

from data.errors import UserError
from utils.files import write

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour(label):
    """A class's colour: hues a golden ratio apart never come close together."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 1)
    return int(255 * red), int(255 * green), int(255 * blue)


def draw(image, boxes, labels, classes, scores=None, truth=()):
    """A copy of image [H, W, 3] RGB with named boxes on it, the best on top; truth [N, 4] in
    white."""
    canvas = image.copy()
    thickness = max(1, round(max(image.shape) / 500))
    scale = max(image.shape) / 1600 + 0.2
    for box in np.asarray(truth).reshape(-1, 4):
        rectangle(canvas, box, WHITE, 1)
    for i in reversed(range(len(boxes))):
        left, top, *_ = rectangle(canvas, boxes[i], colour(labels[i]), thickness)
        name = classes[labels[i]]
        text = name if scores is None else f"{name} {scores[i]:.2f}"
        label_plate(canvas, text, (left, top), colour(labels[i]), scale)
    return canvas


def rectangle(canvas, box, shade, thickness):
    """Draw a box, and return its sides in whole pixels."""
    left, top, right, bottom = np.asarray(box).round().astype(int).tolist()
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), shade, thickness)
    return left, top, right, bottom


def label_plate(canvas, text, corner, background, scale):
    """Dark text on a bright plate that stands on the corner, or hangs from it at the top edge."""
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    left = max(min(corner[0], canvas.shape[1] - width), 0)
    bottom = corner[1] if corner[1] > height + base else corner[1] + height + base
    cv2.rectangle(canvas, (left, bottom - height - base), (left + width, bottom), background, -1)
    cv2.putText(canvas, text, (left, bottom - base + 1), FONT, scale, BLACK, 1, cv2.LINE_AA)


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
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85] if path.suffix.lower() in (".jpg", ".jpeg") else []
    try:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(path.suffix, bgr, quality)
    except cv2.error:
        ending = repr(path.suffix)
        raise UserError(f"{path}: no picture has the ending {ending}; use .png or .jpg") from None
    write(path, data.tobytes(), replace)
