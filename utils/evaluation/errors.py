"""What a detector gets wrong, in numbers: kinds of errors, what each kind costs, and AP50 for
objects of some sizes.

The kinds are those of Bolya et al., 2020, "TIDE: A General Toolbox for Identifying Object Detection
Errors", arXiv:2008.08115.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from data.records import ANY_CLASS
from data.summary import box_sides
from layers.boxes import area, intersection, iou
from utils.evaluation.metrics import average_precision, pairwise_iou

POSITIVE_IOU = 0.5  # from which on a detection of the right class is a hit
BACKGROUND_IOU = 0.1  # up to which a detection touches no object
WRONG_CLASS, WRONG_BOX, WRONG_BOTH, DUPLICATE, FALSE_ALARM, MISSED = range(6)
HIT = -1  # in the place of one of these
NEAR_HITS = (WRONG_CLASS, WRONG_BOX)  # one of the two is right
KINDS = ("class", "box", "both", "duplicate", "background", "missed")  # their names in TIDE
MEANINGS = {
    "class": "right box, wrong class",
    "box": f"right class, but the IoU is below {POSITIVE_IOU}",
    "both": f"wrong class, and the IoU is below {POSITIVE_IOU}",
    "duplicate": "another detection of the same object",
    "background": "no object there",
    "missed": "objects that no detection found or nearly found",
}


class Errors(NamedTuple):
    """D detections, the highest score first, and what is wrong with each of them; and the K objects
    of the records.

    Detections in areas to be ignored are left out.
    """

    labels: np.ndarray  # [D]
    scores: np.ndarray  # [D]
    images: np.ndarray  # [D] image numbers
    rows: np.ndarray  # [D] the place among the detections of its image
    kinds: np.ndarray  # [D] WRONG_CLASS to FALSE_ALARM, or HIT
    objects: np.ndarray  # [D] the records' row of the object that it concerns, or -1
    object_labels: np.ndarray  # [K] -1 where the object is to be ignored
    detected: np.ndarray  # [K] whether the object has a hit


def find_errors(records, detections):
    """Compare all detections with the records' objects -> Errors."""
    object_labels = np.where(records.ignore, -1, records.labels)
    detected = np.zeros(len(object_labels), bool)
    tables = [np.zeros((0, 6))]
    for image, result in detections.items():
        if not len(result["scores"]):
            continue
        order = np.argsort(-result["scores"], kind="stable")
        boxes = result["boxes"][order]
        labels = result["labels"][order]
        rows = records.objects(image)
        real = ~records.ignore[rows]
        true_boxes = records.boxes[rows]
        true_labels = records.labels[rows]

        kinds, objects = find_image_errors(boxes, labels, true_boxes[real], true_labels[real])
        # From numbers of the image's real objects to rows of the records; the last keeps -1 as -1.
        objects = np.append(np.arange(rows.start, rows.stop)[real], -1)[objects]
        detected[objects[kinds == HIT]] = True
        ignored = in_ignored_area(boxes, labels, true_boxes[~real], true_labels[~real])
        counts = (kinds == HIT) | ~ignored
        images = np.full(len(order), image)
        columns = (labels, result["scores"][order], images, order, kinds, objects)
        tables.append(np.stack(columns, axis=1)[counts])
    table = np.concatenate(tables)
    table = table[np.argsort(-table[:, 1], kind="stable")]
    labels, images, rows, kinds, objects = (table[:, i].astype(int) for i in (0, 2, 3, 4, 5))
    return Errors(labels, table[:, 1], images, rows, kinds, objects, object_labels, detected)


def find_image_errors(boxes, labels, true_boxes, true_labels):
    """The kind of each detection of an image, and the object that it concerns or -1: [D], [D].

    The detections come with the highest score first.
    """
    kinds = np.full(len(boxes), FALSE_ALARM)
    objects = np.full(len(boxes), -1)
    if not len(true_boxes):
        return kinds, objects
    overlap = pairwise_iou(boxes, true_boxes)
    is_same_class = labels[:, None] == true_labels
    same_class = overlap * is_same_class
    other_class = overlap * ~is_same_class
    # All hits come first: whether a detection is a duplicate depends on the others.
    is_free = np.ones(len(true_labels), bool)
    for i in range(len(boxes)):
        best = (same_class[i] * is_free).argmax()
        if is_free[best] and same_class[i, best] >= POSITIVE_IOU:
            kinds[i] = HIT
            objects[i] = best
            is_free[best] = False
    for i in np.flatnonzero(kinds != HIT):
        kinds[i], objects[i] = kind_of_error(same_class[i], other_class[i])
    return kinds, objects


def kind_of_error(same_class, other_class):
    """The kind of a detection that is no hit, and the object that it concerns or -1.

    Its IoU with objects of its own class and with others: [N], [N]. Of several kinds that fit, TIDE
    takes the first in this order.
    """
    same = same_class.argmax()
    other = other_class.argmax()
    if BACKGROUND_IOU <= same_class[same] <= POSITIVE_IOU:
        return WRONG_BOX, same
    if other_class[other] >= POSITIVE_IOU:
        return WRONG_CLASS, other
    if same_class[same] >= POSITIVE_IOU:
        return DUPLICATE, same
    if other_class[other] > BACKGROUND_IOU:
        return WRONG_BOTH, other
    return FALSE_ALARM, -1


def in_ignored_area(boxes, labels, areas, area_labels):
    """Which detections lie mostly in an area to be ignored, of their class or of any: [D]."""
    boxes = torch.as_tensor(boxes).double()
    areas = torch.as_tensor(areas).double()
    shares = intersection(boxes[:, None], areas) / area(boxes)[:, None]
    applies = (labels[:, None] == area_labels) | (area_labels == ANY_CLASS)
    return ((shares.numpy() > POSITIVE_IOU) & applies).any(axis=1)


def breakdown(classes, errors):
    """AP50, how many errors there are of each kind, and what each kind costs -> dict.

    A kind costs what AP50 would gain if its errors were corrected and no others. The costs do not
    add up to 1 - AP50, because one error can hide another.
    """
    before = mean_ap50(classes, errors)
    counts = {}
    costs = {}
    for kind, name in enumerate(KINDS):
        counts[name] = int((errors.kinds == kind).sum())
        after = mean_ap50(classes, correct_errors(errors, kind))
        # Where every object is missed, no object is left after the correction, and after is nan.
        costs[name] = after - before if after > before else 0.0
    counts["missed"] = int(is_missed(errors).sum())
    return dict(AP50=before, counts=counts, costs=costs)


def breakdown_lines(result):
    """The result of breakdown() as the lines of a table."""
    yield "what AP50 would gain if all errors of a kind were corrected, and how many there are:"
    for name in KINDS:
        cost = result["costs"][name]
        count = result["counts"][name]
        yield f"{name:10} {cost:6.3f}  {count:7}  {MEANINGS[name]}"


def is_missed(errors):
    """Which objects have neither a hit nor a near hit: mask [K]."""
    is_near_hit = np.isin(errors.kinds, NEAR_HITS)
    nearly_detected = np.zeros(len(errors.detected), bool)
    nearly_detected[errors.objects[is_near_hit]] = True
    return (errors.object_labels >= 0) & ~errors.detected & ~nearly_detected


def correct_errors(errors, kind):
    """The same Errors without those of one kind.

    A near hit becomes a hit, if it is the one with the highest score on an object without a hit.
    Every other error of the kind is removed.
    """
    if kind == MISSED:
        return select_objects(errors, ~is_missed(errors))
    is_wrong = errors.kinds == kind
    is_kept = ~is_wrong
    kinds = errors.kinds.copy()
    labels = errors.labels.copy()
    if kind in NEAR_HITS:
        best = best_near_hits(errors)
        best = best[is_wrong[best]]
        is_kept[best] = True
        kinds[best] = HIT
        labels[best] = errors.object_labels[errors.objects[best]]
    return select_detections(errors._replace(kinds=kinds, labels=labels), is_kept)


def best_near_hits(errors):
    """The near hit with the highest score on each object without a hit: numbers of detections."""
    numbers = np.flatnonzero(np.isin(errors.kinds, NEAR_HITS))
    numbers = numbers[~errors.detected[errors.objects[numbers]]]
    _, first = np.unique(errors.objects[numbers], return_index=True)
    return numbers[first]


def select_detections(errors, mask):
    """The Errors of some detections only, by a mask [D]."""
    columns = [column[mask] for column in errors[:6]]
    return Errors(*columns, errors.object_labels, errors.detected)


def select_objects(errors, mask):
    """The same Errors where only some objects count, by a mask [K]."""
    return errors._replace(object_labels=np.where(mask, errors.object_labels, -1))


def mean_ap50(classes, errors):
    """COCO's average precision at an IoU of 0.5, over the classes that have objects."""
    values = []
    for label in range(len(classes)):
        num_objects = (errors.object_labels == label).sum()
        if num_objects:
            hits = errors.kinds[errors.labels == label] == HIT
            values.append(average_precision(hits, num_objects, "coco"))
    return float(np.mean(values)) if values else math.nan


def group_ap50(classes, errors, members):
    """AP50 for some objects only, by a mask [K].

    Detections of other objects do not count, but false alarms do.
    """
    is_of_others = (errors.objects >= 0) & ~np.append(members, False)[errors.objects]
    return mean_ap50(classes, select_objects(select_detections(errors, ~is_of_others), members))


def object_groups(records):
    """Name -> mask [K] of objects: by size, and by whether they overlap others."""
    real = ~records.ignore
    if not real.any():
        return {}
    overlaps = overlap_with_others(records) > 0.1
    return size_groups(records) | {"alone": real & ~overlaps, "overlapping": real & overlaps}


def size_groups(records):
    """Name -> mask [K] of objects: the smallest third, the middle one and the largest.

    Without objects there are no groups.
    """
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
    """The largest IoU of each object with another one in its image: [K]."""
    result = np.zeros(len(records.boxes))
    for image in range(len(records)):
        rows = records.objects(image)
        boxes = torch.as_tensor(records.boxes[rows])
        if len(boxes) > 1:
            result[rows] = iou(boxes, boxes).fill_diagonal_(0).amax(dim=1).numpy()
    return result
