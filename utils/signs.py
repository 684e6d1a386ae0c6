"""What an evaluation and a training's log show of why a detector is not better, as numbers."""

import numpy as np

from utils.breakdown import BOX, CLASS, HIT

FEW = 20  # of so few detections, a median says nothing


def exchanged_classes(explained, threshold):
    """Pairs of classes whose names some images seem to have the wrong way round.

    Returns (label, other label, image numbers), the most images first. A detector that confuses
    two classes does so for some objects of an image; where it is right for all of one image, and
    wrong for all of another, it is rather the annotation that is wrong.
    """
    verdicts = surest_detections(explained, threshold)
    truth, guess = explained.object_labels[explained.objects[verdicts]], explained.labels[verdicts]
    images = explained.images[verdicts]
    found = []
    for label, other in np.unique(np.sort(np.stack([truth, guess]), axis=0), axis=1).T.tolist():
        if label == other:
            continue
        pair = np.isin(truth, (label, other)) & np.isin(guess, (label, other))
        numbers, place = np.unique(images[pair], return_inverse=True)
        objects = np.bincount(place)
        wrong = np.bincount(place, weights=(truth != guess)[pair])
        exchanged = (wrong == objects) & (objects > 1)
        mixed = (wrong > 0) & (wrong < objects)
        if exchanged.sum() >= 3 and exchanged.sum() > mixed.sum():
            found.append((label, other, numbers[exchanged].tolist()))
    return sorted(found, key=lambda one: -len(one[2]))


def surest_detections(explained, threshold):
    """Of every object that was found, if under another class, its most certain detection over the
    threshold: numbers of detections."""
    shown = np.isin(explained.kinds, (HIT, CLASS)) & (explained.scores >= threshold)
    numbers = np.flatnonzero(shown)
    numbers = numbers[np.argsort(-explained.scores[numbers], kind="stable")]
    _, first = np.unique(explained.objects[numbers], return_index=True)
    return numbers[first]


def common_offset(records, detections, explained, threshold):
    """How far boxes lie beside the annotated ones, all in one direction: (right, down) in pixels.

    The medians over detections of the right class; 0 where fewer than three of four lie on that
    side, or the median is less than a twentieth of the objects' side.
    """
    chosen = np.isin(explained.kinds, (HIT, BOX)) & (explained.scores >= threshold)
    numbers = np.flatnonzero(chosen)
    if len(numbers) < FEW:
        return 0.0, 0.0
    boxes = np.stack([detections[explained.images[i]]["boxes"][explained.rows[i]] for i in numbers])
    truth = records.boxes[explained.objects[numbers]]
    moves = (boxes[:, :2] + boxes[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2
    sides = truth[:, 2:] - truth[:, :2]
    medians = np.median(moves, axis=0)
    alike = (np.sign(moves) == np.sign(medians)).mean(axis=0) > 0.75
    large = np.abs(np.median(moves / sides, axis=0)) > 0.05
    return tuple(np.where(alike & large, medians, 0.0).tolist())


def largest_step(entries):
    """The largest relative step that a log's entries hold, 0 where there is none."""
    return max((entry.get("relative_step", 0.0) for entry in entries), default=0.0)
