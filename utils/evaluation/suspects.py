"""Annotations that look wrong to a detector, the strangest first."""

from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from utils import draw
from utils.evaluation.errors import POSITIVE_IOU, in_ignored_area
from utils.evaluation.metrics import pairwise_iou
from utils.evaluation.pictures import box_cell, threshold_or_half
from utils.files import csv_text, write

SUSPECTS = ("suspects.csv", "suspects.jpg")
TOUCHING_IOU = 0.3  # from which on a detection and an annotated box may be of one object
MAX_SHOWN = 24  # suspects in the picture


class Suspect(NamedTuple):
    """A box that may be annotated wrongly, or that may have been forgotten."""

    image: int
    box: np.ndarray  # [4]
    annotated: str  # its class, or "nothing"
    detected: str  # what is detected there with a score of at least the threshold, or "nothing"
    strangeness: float  # 0 to 1


def find_suspects(dataset, detections, threshold):
    """All annotated boxes, and all sure detections where nothing is annotated -> Suspects.

    An annotated box is the stranger, the less the detections of its class overlap it, and the more
    those of another class do: both are scores times IoU. A detection without a box is the stranger,
    the larger its score. The two kinds take turns, because such numbers cannot be compared: how
    sure a detector is of what it sees says nothing of what it does not see.
    """
    annotated = []
    missing = []
    for image in sorted(detections):
        of_image = annotated_suspects, missing_suspects
        for suspects, find in zip((annotated, missing), of_image):
            suspects += find(dataset, image, detections[image], threshold)
    for suspects in (annotated, missing):
        suspects.sort(key=lambda suspect: -suspect.strangeness)
    turns = zip_longest(missing, annotated)
    return [suspect for turn in turns for suspect in turn if suspect is not None]


def annotated_suspects(dataset, image, found, threshold):
    """A Suspect of each annotated box of an image."""
    records = dataset.records
    rows = records.objects(image)
    boxes, scores = records.boxes[rows], found["scores"]
    overlap = pairwise_iou(boxes, found["boxes"])
    is_same = records.labels[rows][:, None] == found["labels"]
    evidence = np.where(overlap >= POSITIVE_IOU, overlap * scores, 0.0)
    support = (evidence * is_same).max(axis=1, initial=0.0)
    support *= 1 - (evidence * ~is_same).max(axis=1, initial=0.0)
    touching = np.where((overlap >= TOUCHING_IOU) & (scores >= threshold), scores, 0.0)
    suspects = []
    for i in np.flatnonzero(~records.ignore[rows]):
        detected = "nothing"
        if touching[i].any():
            best = touching[i].argmax()
            name = dataset.classes[found["labels"][best]]
            detected = f"{name} {scores[best]:.2f}, IoU {overlap[i, best]:.2f}"
        name = dataset.classes[records.labels[rows][i]]
        suspects.append(Suspect(image, boxes[i], name, detected, float(1 - support[i])))
    return suspects


def missing_suspects(dataset, image, found, threshold):
    """A Suspect of each place of an image where something is detected but nothing annotated."""
    records = dataset.records
    rows = records.objects(image)
    ignore, boxes, labels = records.ignore[rows], records.boxes[rows], records.labels[rows]
    is_free = ~in_ignored_area(found["boxes"], found["labels"], boxes[ignore], labels[ignore])
    is_free &= pairwise_iou(found["boxes"], boxes).max(axis=1, initial=0.0) < TOUCHING_IOU
    taken = np.zeros((0, 4), np.float32)
    suspects = []
    for i in np.argsort(-found["scores"], kind="stable"):
        box, score = found["boxes"][i], float(found["scores"][i])
        # Several classes may be detected in one place.
        is_new = pairwise_iou(box[None], taken).max(initial=0.0) < POSITIVE_IOU
        if is_free[i] and is_new and score >= threshold:
            taken = np.concatenate([taken, box[None]])
            detected = f"{dataset.classes[found['labels'][i]]} {score:.2f}"
            suspects.append(Suspect(image, box, "nothing", detected, score))
    return suspects


def save_suspects(folder, dataset, evaluation):
    """Write the SUSPECTS of an evaluation into a folder -> their paths: a list of all, and a
    picture of the first. Without a suspect there is no picture."""
    threshold = threshold_or_half(evaluation.operating_point.threshold)
    suspects = find_suspects(dataset, evaluation.detections, threshold)
    rows = [("rank", "image", *"left top right bottom annotated detected strangeness".split())]
    for rank, suspect in enumerate(suspects, start=1):
        sides = [f"{side:.1f}" for side in suspect.box]
        words = suspect.annotated, suspect.detected, f"{suspect.strangeness:.3f}"
        rows.append((rank, dataset.records.path(suspect.image), *sides, *words))
    write(folder / "suspects.csv", csv_text(rows))
    cells = [suspect_cell(dataset, suspect) for suspect in suspects[:MAX_SHOWN]]
    if cells:
        caption = "coloured: suspects; white: the other annotated boxes"
        draw.save_picture(folder / "suspects.jpg", draw.sheet(cells, caption, width=320))
    return [folder / name for name in SUSPECTS if (folder / name).exists()]


def suspect_cell(dataset, suspect):
    """The picture of a suspect, with the annotated boxes around it in white."""
    text = f"{suspect.annotated}; detected: {suspect.detected}"
    return box_cell(dataset, suspect.image, suspect.box, draw.colour(0), text)
