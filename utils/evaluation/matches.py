"""Which detections find an object, and the average precision that follows."""

import math
from typing import NamedTuple

import numpy as np
import torch

from data.records import ANY_CLASS
from layers.boxes import iou

RECALLS = np.linspace(0, 1, 101)  # at which COCO reads the precision


class Matches(NamedTuple):
    """A class's detections, most certain first, at T IoU thresholds."""

    scores: np.ndarray  # [D]
    images: np.ndarray  # [D] image numbers
    hits: np.ndarray  # [T, D] whether it found an object that no better detection found
    counts: np.ndarray  # [T, D] False where it found an object to ignore
    objects: np.ndarray  # [M] how many objects each image has


def match_detections(classes, records, detections, min_iou=0.5):
    """Which detections find an object, as PASCAL VOC decides it -> Matches of each class.

    In every image, detections take turns, the most certain first. Each is compared with the object
    of its class that it overlaps most: if that was found before, the detection is false; if it is
    to be ignored, a difficult one, the detection does not count.
    """
    label_count, rows = len(classes), []
    objects = np.zeros((label_count, len(records)), int)
    for image in range(len(records)):
        rows_of_image = records.objects(image)
        labels, ignore = records.labels[rows_of_image], records.ignore[rows_of_image]
        np.add.at(objects[:, image], labels[~ignore], 1)
        if image not in detections:
            continue
        image_detections = detections[image]
        order = np.argsort(-image_detections["scores"], kind="stable")
        guess = image_detections["labels"][order]
        hit, counted = match_image(
            image_detections["boxes"][order],
            guess,
            records.boxes[rows_of_image],
            labels,
            ignore,
            min_iou,
        )
        image_numbers = np.full(len(order), image)
        rows.append(
            np.stack(
                [guess, image_detections["scores"][order], image_numbers, hit, counted], axis=1
            )
        )
    table = np.concatenate([np.zeros((0, 5)), *rows])
    table = table[np.argsort(-table[:, 1], kind="stable")]
    matches = {}
    for label, name in enumerate(classes):
        _, scores, images, hits, counts = table[table[:, 0] == label].T
        matches[name] = Matches(
            scores, images.astype(int), hits[None] > 0, counts[None] > 0, objects[label]
        )
    return matches


def match_image(boxes, guess, true_boxes, labels, ignore, min_iou):
    """For an image's detections, best first: masks [D] of the hits and of those that count."""
    hit, counted = np.zeros(len(boxes), bool), np.ones(len(boxes), bool)
    if not len(boxes) or not len(true_boxes):
        return hit, counted
    overlap = iou(torch.as_tensor(boxes).double(), torch.as_tensor(true_boxes).double()).numpy()
    overlap[(guess[:, None] != labels) & (labels != ANY_CLASS)] = -1
    best = overlap.argmax(axis=1)
    touches = overlap.max(axis=1) > min_iou
    counted[touches & ignore[best]] = False
    possible = np.flatnonzero(touches & ~ignore[best])
    _, first = np.unique(best[possible], return_index=True)
    hit[possible[first]] = True
    return hit, counted


def average_precision(hits, num_objects, eleven_points=False):
    """The precision of detections, averaged over recall: nan where there is no object.

    hits [D] says of each detection, the most certain first, whether it found an object. PASCAL VOC
    takes the area below the curve, in 2007 the mean at eleven_points.
    """
    if num_objects == 0:
        return math.nan
    true_positives = np.cumsum(hits)
    recall, precision = true_positives / num_objects, true_positives / np.arange(1, len(hits) + 1)
    # The best precision that is to be had at this recall or a higher one.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    if eleven_points:
        points = np.linspace(0, 1, 11)
        return float(np.mean([precision[recall >= point].max(initial=0) for point in points]))
    return float((np.diff(recall, prepend=0) * precision).sum())


def ap_at_101_recalls(true_positives, tried, num_objects):
    """The precision of detections, most certain first, read at 101 recalls as COCO does: the mean.

    true_positives [D] and tried [D] count the hits and the detections up to each one.
    """
    recall, precision = true_positives / num_objects, true_positives / np.maximum(tried, 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.append(precision, 0.0)[np.searchsorted(recall, RECALLS)].mean())
