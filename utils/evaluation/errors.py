"""What a detector gets wrong, in numbers: six kinds of errors and what each costs, and how
well objects of some sizes are detected.

Bolya et al., 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors", Sec. 2.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from data.records import ANY_CLASS
from data.summary import box_sides
from layers.boxes import area, intersection, iou
from utils.evaluation.metrics import ap_at_101_recalls

POSITIVE_IOU, BACKGROUND_IOU = 0.5, 0.1  # a hit; less than the second touches nothing
KINDS = ("class", "box", "both", "duplicate", "background", "missed")
HIT = -1  # in the place of a kind
WRONG_CLASS, WRONG_BOX, WRONG_BOTH, DUPLICATE, FALSE_ALARM, MISSED = range(6)


class Explained(NamedTuple):
    """Every detection that counts, and what is wrong with it; D of them, K objects."""

    labels: np.ndarray  # [D]
    scores: np.ndarray  # [D]
    images: np.ndarray  # [D] image numbers
    rows: np.ndarray  # [D] which detection of its image it is
    kinds: np.ndarray  # [D] a number of KINDS, or HIT
    objects: np.ndarray  # [D] the records' row of the object that it found, or nearly found; or -1
    object_labels: np.ndarray  # [K] of all objects of the records; -1 where one is to be ignored
    found: np.ndarray  # [K] whether an object was found


def explain(records, detections):
    """What is wrong with each detection, at an IoU of 0.5 -> Explained."""
    object_labels = np.where(records.ignore, -1, records.labels)
    found = np.zeros(len(object_labels), bool)
    parts = [np.zeros((0, 6))]
    for image, results in detections.items():
        if not len(results["scores"]):
            continue
        order = np.argsort(-results["scores"], kind="stable")
        rows = records.objects(image)
        ignore = records.ignore[rows]
        numbers = np.arange(rows.start, rows.stop)
        boxes, guess = results["boxes"][order], results["labels"][order]
        counted = ~in_ignored_area(boxes, guess, records.boxes[rows], records.labels[rows], ignore)
        kinds, objects = explain_image(
            boxes, guess, records.boxes[rows][~ignore], records.labels[rows][~ignore]
        )
        counted |= kinds == HIT
        objects = np.where(objects < 0, -1, np.append(numbers[~ignore], -1)[objects])
        found[objects[kinds == HIT]] = True
        images = np.full(len(order), image)
        columns = (guess, results["scores"][order], images, order, kinds, objects)
        parts.append(np.stack(columns, axis=1)[counted])
    table = np.concatenate(parts)
    labels, images, rows, kinds, objects = (table[:, i].astype(int) for i in (0, 2, 3, 4, 5))
    return Explained(labels, table[:, 1], images, rows, kinds, objects, object_labels, found)


def explain_image(boxes, guess, true_boxes, labels):
    """The kind of each detection, most certain first, and the object it concerns or -1: [D], [D].

    Where several explanations fit, the first of KINDS' definitions here is taken, as in TIDE.
    """
    kinds, objects = np.full(len(boxes), FALSE_ALARM), np.full(len(boxes), -1)
    if not len(true_boxes):
        return kinds, objects
    overlap = iou(torch.as_tensor(boxes).double(), torch.as_tensor(true_boxes).double()).numpy()
    same = guess[:, None] == labels
    same_overlap, other_overlap = overlap * same, overlap * ~same
    free = np.ones(len(labels), bool)
    for i, row in enumerate(same_overlap):
        best = (row * free).argmax()
        if row[best] >= POSITIVE_IOU and free[best]:
            kinds[i], objects[i], free[best] = HIT, best, False
    for i in np.flatnonzero(kinds != HIT):
        best, other = same_overlap[i].argmax(), other_overlap[i].argmax()
        if BACKGROUND_IOU <= same_overlap[i, best] <= POSITIVE_IOU:
            kinds[i], objects[i] = WRONG_BOX, best
        elif other_overlap[i, other] >= POSITIVE_IOU:
            kinds[i], objects[i] = WRONG_CLASS, other
        elif same_overlap[i, best] >= POSITIVE_IOU:
            kinds[i], objects[i] = DUPLICATE, best
        elif overlap[i].max() > BACKGROUND_IOU:
            kinds[i], objects[i] = WRONG_BOTH, overlap[i].argmax()
    return kinds, objects


def in_ignored_area(boxes, guess, true_boxes, labels, ignore):
    """Which detections lie mostly within an area to be ignored, of their class or of any: [D]."""
    areas = torch.as_tensor(true_boxes[ignore]).double()
    boxes = torch.as_tensor(boxes).double()
    shared = intersection(boxes[:, None], areas) / area(boxes)[:, None]
    same = (guess[:, None] == labels[ignore]) | (labels[ignore] == ANY_CLASS)
    return ((shared.numpy() > POSITIVE_IOU) & same).any(axis=1)


def breakdown(classes, explained):
    """AP50, how many errors of each kind there are, and what each costs in AP50 -> dict.

    The cost is what AP50 would rise by if all errors of a kind were mended and nothing else. The
    costs do not add up to what is missing, for one error hides another.
    """
    before = mean_ap50(classes, explained)
    counts, costs = {}, {}
    missed = is_missed(explained)
    for number, kind in enumerate(KINDS):
        counts[kind] = int((explained.kinds == number).sum())
        after = mean_ap50(classes, mended(explained, number))
        # Where every object was missed, none is left, and no precision.
        costs[kind] = after - before if after > before else 0.0
    counts["missed"] = int(missed.sum())
    return dict(AP50=before, counts=counts, costs=costs)


WORDS = {
    "class": "right box, wrong class",
    "box": f"right class, box overlaps by less than {POSITIVE_IOU}",
    "both": "wrong class, and such a box",
    "duplicate": "an object found twice",
    "background": "no object there",
    "missed": "objects that nothing comes near",
}


def breakdown_lines(result):
    """What breakdown() found, as a table."""
    yield "what mending all errors of a kind would add to AP50:"
    for kind in KINDS:
        cost, count = result["costs"][kind], result["counts"][kind]
        yield f"{kind:10} {cost:6.3f}  {count:7}  {WORDS[kind]}"


def is_missed(explained):
    """Which objects no detection has nearly found: [K]; the others' errors are of class or box."""
    nearly = np.isin(explained.kinds, (WRONG_CLASS, WRONG_BOX))
    touched = np.isin(np.arange(len(explained.found)), explained.objects[nearly])
    return (explained.object_labels >= 0) & ~explained.found & ~touched


def mended(explained, kind):
    """The same detections without their errors of one kind.

    A wrong class or box is made right if its object was not found otherwise, and it is the most
    certain of those that nearly found it. Every other error of the kind is taken away.
    """
    if kind == MISSED:
        missed = is_missed(explained)
        return explained._replace(object_labels=np.where(missed, -1, explained.object_labels))
    wrong = explained.kinds == kind
    kept, kinds, labels = ~wrong, explained.kinds.copy(), explained.labels.copy()
    if kind in (WRONG_CLASS, WRONG_BOX):
        rows = np.flatnonzero(np.isin(explained.kinds, (WRONG_CLASS, WRONG_BOX)))
        rows = rows[~explained.found[explained.objects[rows]]]
        rows = rows[np.argsort(-explained.scores[rows], kind="stable")]
        _, first = np.unique(explained.objects[rows], return_index=True)
        best = rows[first]
        best = best[wrong[best]]
        kinds[best], kept[best] = HIT, True
        labels[best] = explained.object_labels[explained.objects[best]]
    columns = (labels, explained.scores, explained.images, explained.rows, kinds, explained.objects)
    return Explained(
        *(column[kept] for column in columns), explained.object_labels, explained.found
    )


def mean_ap50(classes, explained):
    """COCO's average precision at an IoU of 0.5, over the classes that have objects."""
    values = []
    for label in range(len(classes)):
        objects = (explained.object_labels == label).sum()
        if objects:
            chosen = explained.labels == label
            order = np.argsort(-explained.scores[chosen], kind="stable")
            hits = (explained.kinds[chosen] == HIT)[order]
            tried = np.arange(1, len(hits) + 1)
            values.append(ap_at_101_recalls(np.cumsum(hits), tried, objects))
    return float(np.mean(values)) if values else math.nan


def object_groups(records):
    """Name -> mask [K] of the objects: by size in thirds, and by overlap with another one."""
    real = ~records.ignore
    if not real.any():
        return {}
    crowded = overlap_with_others(records) > 0.1
    return size_groups(records) | {"alone": real & ~crowded, "overlapping": real & crowded}


def size_groups(records):
    """Name -> mask [K] of the objects: the small, the middle and the large third; none of none."""
    real = ~records.ignore
    if not real.any():
        return {}
    sides = box_sides(records.boxes)
    low, high = np.percentile(sides[real], (100 / 3, 200 / 3))
    return {
        f"up to {low:.0f} px": real & (sides <= low),
        f"{low:.0f} to {high:.0f} px": real & (sides > low) & (sides <= high),
        f"over {high:.0f} px": real & (sides > high),
    }


def overlap_with_others(records):
    """The largest IoU of each object with another of its image: [K]."""
    result = np.zeros(len(records.boxes))
    for image in range(len(records)):
        rows = records.objects(image)
        boxes = torch.as_tensor(records.boxes[rows])
        if len(boxes) > 1:
            result[rows] = iou(boxes, boxes).fill_diagonal_(0).amax(dim=1).numpy()
    return result


def group_ap50(classes, explained, members):
    """AP50 of the objects that are members: [K]; detections of others do not count."""
    other = (explained.objects >= 0) & ~np.append(members, False)[explained.objects]
    labels = np.where(members, explained.object_labels, -1)
    return mean_ap50(classes, narrowed(explained, ~other, labels >= 0))


def narrowed(explained, detections, objects):
    """Some of the detections, by a mask [D], and some of the objects, by a mask [K]."""
    columns = [column[detections] for column in explained[:6]]
    labels = np.where(objects, explained.object_labels, -1)
    return Explained(*columns, labels, explained.found)
