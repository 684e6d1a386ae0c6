"""The worst mistakes of an evaluation, as pictures with their image's name."""

from pathlib import Path

import cv2
import numpy as np
import torch

from layers.boxes import paired_iou
from utils import draw
from utils.evaluation.errors import BACKGROUND, BOX, CLASS, is_missed

SIDE, STRIP = 320, 24  # pixels of a picture, and of the text below it
MARGIN = 1.0  # what is shown around a box, times its larger side
KINDS_SHOWN = (BACKGROUND, CLASS, BOX)  # then the missed objects


def mistake_sheet(dataset, detections, explained, count=4):
    """A row of pictures for each kind: certain of nothing, wrong classes, poor boxes, and the
    largest missed objects. None where there is no mistake.

    What is certain of nothing is a false alarm, or an object that the annotation forgot.
    """
    rows = [worst_detections(explained, kind, count) for kind in KINDS_SHOWN]
    rows = [[detected_cell(dataset, detections, explained, i) for i in row] for row in rows]
    rows.append(
        [missed_cell(dataset, i) for i in largest_missed(dataset.records, explained, count)]
    )
    blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
    cells = [cell for row in rows if row for cell in row + [blank] * (count - len(row))]
    return draw.sheet(cells, columns=count, width=SIDE) if cells else None


def worst_detections(explained, kind, count):
    """The most certain detections with an error of a kind: at most one of an image, [<= count]."""
    wrong = np.flatnonzero(explained.kinds == kind)
    wrong = wrong[np.argsort(-explained.scores[wrong], kind="stable")]
    _, first = np.unique(explained.images[wrong], return_index=True)
    return wrong[np.sort(first)][:count].tolist()


def largest_missed(records, explained, count):
    """The rows of the largest objects that no detection comes near: [<= count]."""
    missed = np.flatnonzero(is_missed(explained))
    return missed[np.argsort(-records.areas[missed], kind="stable")][:count].tolist()


def detected_cell(dataset, detections, explained, number):
    """The picture of a wrong detection, with the objects around it in white."""
    image_number = int(explained.images[number])
    image, target = dataset.read(image_number)
    box = detections[image_number]["boxes"][explained.rows[number]]
    label, score = explained.labels[number], explained.scores[number]
    nearest, there = explained.objects[number], "nothing"
    if nearest >= 0:
        overlap = paired_iou(*map(torch.as_tensor, (box, dataset.records.boxes[nearest])))
        there = f"{dataset.classes[explained.object_labels[nearest]]}, IoU {overlap:.2f}"
    boxes = [(truth, draw.WHITE) for truth in target["boxes"][~target["ignore"]]]
    boxes.append((box, draw.colour(label)))
    text = f"{dataset.classes[label]} {score:.2f}; truth: {there}"
    return cell(image, box, boxes, name_of(dataset, image_number), text)


def missed_cell(dataset, row):
    """The picture of an object that was missed, in white."""
    records = dataset.records
    image_number = int(np.searchsorted(records.offsets, row, side="right")) - 1
    image, _ = dataset.read(image_number)
    box = records.boxes[row]
    text = f"missed: {dataset.classes[records.labels[row]]}"
    return cell(image, box, [(box, draw.WHITE)], name_of(dataset, image_number), text)


def name_of(dataset, image_number):
    return Path(dataset.records.path(image_number)).name


def cell(image, box, boxes, name, text):
    """The part of an image around a box, enlarged, with boxes (box, colour) on it, above the
    image's name and a text."""
    left, top, right, bottom = box
    reach = MARGIN * max(right - left, bottom - top)
    first = np.maximum(np.floor([left - reach, top - reach]), 0).astype(int)
    last = np.ceil([right + reach, bottom + reach]).astype(int)
    part = image[first[1] : last[1], first[0] : last[0]]
    scale = (SIDE - 2 * STRIP) / max(part.shape[:2])
    size = [max(round(side * scale), 1) for side in part.shape[1::-1]]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    enlarged = cv2.resize(part, size, interpolation=method)
    for shown, shade in boxes:
        draw.rectangle(enlarged, (np.asarray(shown) - [*first, *first]) * scale, shade, 2)
    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    canvas[: size[1], : size[0]] = enlarged
    for line, words in enumerate((name[-40:], text[:44])):
        place = (4, SIDE - 2 * STRIP + 18 + STRIP * line)
        cv2.putText(canvas, words, place, draw.FONT, 0.45, draw.BLACK, 1, cv2.LINE_AA)
    return canvas
