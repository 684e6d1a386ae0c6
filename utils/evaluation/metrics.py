"""How good detections are: COCO's average precision, by pycocotools, and PASCAL VOC's.

detections: image number -> dict of boxes [D, 4] (pixels of the original image), scores [D] and
labels [D], as arrays.
"""

import contextlib
import io
import math
from typing import NamedTuple

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data.records import ANY_CLASS
from layers.boxes import iou

METRICS = ("coco", "voc07", "voc12")
NAMES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
RECALLS = np.linspace(0, 1, 101)  # at which COCO reads the precision


class Matches(NamedTuple):
    """A class's detections, most certain first, at T IoU thresholds."""

    scores: np.ndarray  # [D]
    images: np.ndarray  # [D] image numbers
    hits: np.ndarray  # [T, D] whether it found an object that no better detection found
    counts: np.ndarray  # [T, D] False where it found an object to ignore
    objects: np.ndarray  # [M] how many objects each image has


def compute_metrics(metric, classes, records, detections):
    """The metric of that name -> metrics, the most important first; per_class; Matches per class.

    All are 0 to 1, and nan where there is no object.
    """
    if metric == "coco":
        return coco_metrics(classes, records, detections)
    return voc_metrics(classes, records, detections, eleven_points=metric == "voc07")


def coco_metrics(classes, records, detections):
    """COCO's twelve numbers, and AP and AP50 of each class; as compute_metrics."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = ground_truth(classes, records)
        results = [
            np.column_stack(
                [
                    np.full(len(image_detections["scores"]), image),
                    image_detections["boxes"][:, :2],
                    image_detections["boxes"][:, 2:] - image_detections["boxes"][:, :2],
                    image_detections["scores"],
                    image_detections["labels"] + 1,
                ]
            )
            for image, image_detections in detections.items()
            if len(image_detections["scores"])
        ]
        result = truth.loadRes(np.concatenate(results)) if results else empty_like(truth)
        evaluation = COCOeval(truth, result, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = np.where(evaluation.stats < 0, math.nan, evaluation.stats)
    # precision: [IoU threshold, recall, class, area, limit]; -1 where a class has no object.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = {
        name: dict(AP=mean_precision(precision[:, :, i]), AP50=mean_precision(precision[0, :, i]))
        for i, name in enumerate(classes)
    }
    matches = {name: coco_matches(evaluation, i) for i, name in enumerate(classes)}
    return dict(zip(NAMES, stats.tolist())), per_class, matches


def coco_matches(evaluation, label):
    """The Matches of a class, of objects of every size, from pycocotools' evaluation."""
    num_images, num_areas = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    start = label * num_areas * num_images
    objects = np.zeros(num_images, int)
    scores, images, hits, counts = [np.zeros(0)], [np.zeros(0, int)], [], []
    thresholds = len(evaluation.params.iouThrs)
    for image, item in enumerate(evaluation.evalImgs[start : start + num_images]):
        if item is None:
            continue
        objects[image] = (np.asarray(item["gtIgnore"]) == 0).sum()
        scores.append(item["dtScores"])
        images.append(np.full(len(item["dtScores"]), image))
        ignored = np.asarray(item["dtIgnore"]).reshape(thresholds, -1).astype(bool)
        hits.append((np.asarray(item["dtMatches"]).reshape(thresholds, -1) > 0) & ~ignored)
        counts.append(~ignored)
    scores, images = np.concatenate(scores), np.concatenate(images)
    hits = np.concatenate([np.zeros((thresholds, 0), bool), *hits], axis=1)
    counts = np.concatenate([np.zeros((thresholds, 0), bool), *counts], axis=1)
    order = np.argsort(-scores, kind="mergesort")
    return Matches(scores[order], images[order], hits[:, order], counts[:, order], objects)


def ground_truth(classes, records):
    """The records as pycocotools wants them; images and classes are numbered as ours are."""
    annotations = []
    for image in range(len(records)):
        for row in range(records.offsets[image], records.offsets[image + 1]):
            left, top, right, bottom = records.boxes[row].tolist()
            # What is to be ignored whatever the class is an object of every class.
            label = int(records.labels[row])
            for category in range(len(classes)) if label == ANY_CLASS else [label]:
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=image,
                        category_id=category + 1,
                        bbox=[left, top, right - left, bottom - top],
                        area=float(records.areas[row]),
                        iscrowd=int(records.ignore[row]),
                    )
                )
    sizes = records.sizes.tolist()
    truth = COCO()
    truth.dataset = dict(
        images=[dict(id=i, height=height, width=width) for i, (height, width) in enumerate(sizes)],
        categories=[dict(id=i, name=name) for i, name in enumerate(classes, start=1)],
        annotations=annotations,
    )
    truth.createIndex()
    return truth


def empty_like(truth):
    """No detections at all, which pycocotools cannot load."""
    result = COCO()
    result.dataset = truth.dataset | dict(annotations=[])
    result.createIndex()
    return result


def mean_precision(precision):
    known = precision[precision > -1]
    return float(known.mean()) if len(known) else math.nan


def voc_metrics(classes, records, detections, eleven_points=False):
    """VOC's average precision of each class at IoU 0.5, and their mean; as compute_metrics.

    VOC2007 averages the precision at eleven recalls, later years take the area below the curve.
    """
    matches = match_detections(classes, records, detections)
    per_class = {}
    for name, (_, _, hits, counts, objects) in matches.items():
        counted_hits = hits[0][counts[0]]
        precision = average_precision(counted_hits, objects.sum(), eleven_points)
        per_class[name] = dict(AP50=precision)
    known = [values["AP50"] for values in per_class.values() if not math.isnan(values["AP50"])]
    return dict(mAP=float(np.mean(known)) if known else math.nan), per_class, matches


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
