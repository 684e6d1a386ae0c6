"""Boxes on pictures."""
import colorsys

import cv2
import numpy as np

from data.errors import UserError
from utils.files import write


def colour(label):
    """A colour of its own for every class: hues a golden ratio apart never come close together."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 1)
    return int(255 * red), int(255 * green), int(255 * blue)


def draw(image, boxes, labels, classes, scores=None, truth=()):
    """A copy of image [H, W, 3] RGB with named boxes on it, the best on top; truth [N, 4] in thin white."""
    canvas = image.copy()
    thickness = max(1, round(max(image.shape) / 500))
    for left, top, right, bottom in np.asarray(truth).reshape(-1, 4).round().astype(int).tolist():
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), (255, 255, 255), 1)
    for i in reversed(range(len(boxes))):
        left, top, right, bottom = np.asarray(boxes[i]).round().astype(int).tolist()
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour(labels[i]), thickness)
        name = classes[labels[i]] if scores is None else f"{classes[labels[i]]} {scores[i]:.2f}"
        label_plate(canvas, name, (left, top), colour(labels[i]), scale=max(image.shape) / 1600 + 0.2)
    return canvas


def label_plate(canvas, text, corner, background, scale):
    """Dark text on a bright plate that stands on the corner, or hangs from it where the picture ends."""
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = max(min(corner[0], canvas.shape[1] - width), 0)
    bottom = corner[1] if corner[1] > height + base else corner[1] + height + base
    cv2.rectangle(canvas, (left, bottom - height - base), (left + width, bottom), background, -1)
    cv2.putText(canvas, text, (left, bottom - base + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)


def sheet(images, columns=4, width=320):
    """Pictures side by side in rows, each at most width x width pixels -> one picture."""
    cells = []
    for image in images:
        scale = width / max(image.shape[:2])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=how)
        cell = np.full((width + 4, width + 4, 3), 255, np.uint8)
        cell[2:2 + image.shape[0], 2:2 + image.shape[1]] = image[:width, :width]
        cells.append(cell)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i:i + columns]) for i in range(0, len(cells), columns)])


def save(path, image, replace=False):
    """Write a picture [H, W, 3] RGB in the format of its name, as files.write does."""
    try:
        _, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        raise UserError(f"{path}: no picture has the ending {path.suffix!r}; use .png or .jpg") from None
    write(path, data.tobytes(), replace)
