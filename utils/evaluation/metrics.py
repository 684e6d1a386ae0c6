"""How good detections are: COCO's average precision, by pycocotools, and PASCAL VOC's.

In all functions, detections is a dict by image number of dicts of arrays: boxes [D, 4] in pixels of
the original image, scores [D] and labels [D].
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
COCO_NAMES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
# The recalls at which the precision is read; voc12 takes all. Some are rounded up a little, so that
# 6 of 10 objects do not reach 0.6, as in pycocotools and the usual programs for VOC.
RECALLS = dict(voc07=np.linspace(0, 1, 11), coco=np.linspace(0, 1, 101))


class Matches(NamedTuple):
    """The detections of a class, the highest score first, at T IoU thresholds."""

    scores: np.ndarray  # [D]
    images: np.ndarray  # [D] image numbers
    hits: np.ndarray  # [T, D] whether it found an object that none before it has found
    is_counted: np.ndarray  # [T, D] False where it found an object that is to be ignored
    num_objects: np.ndarray  # [B] in each image


def compute_metrics(metric, classes, records, detections):
    """Compute the metric of that name -> metrics, per_class, matches.

    metrics: name -> value, the most important first. per_class: class name -> its metrics.
    matches: class name -> Matches. Values are 0 to 1, and nan where there is no object.
    """
    if metric == "coco":
        return coco_metrics(classes, records, detections)
    return voc_metrics(classes, records, detections, metric)


def coco_metrics(classes, records, detections):
    """COCO's twelve numbers, and AP and AP50 of each class, as compute_metrics() returns them."""
    # pycocotools prints what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        truth = ground_truth(classes, records)
        evaluation = COCOeval(truth, coco_detections(detections, truth), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = np.where(evaluation.stats < 0, math.nan, evaluation.stats)
    # [IoU threshold, recall, class, area, limit of detections]; -1 where a class has no object.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = {
        name: dict(AP=mean_precision(precision[:, :, i]), AP50=mean_precision(precision[0, :, i]))
        for i, name in enumerate(classes)
    }
    matches = {name: coco_matches(evaluation, i) for i, name in enumerate(classes)}
    return dict(zip(COCO_NAMES, stats.tolist())), per_class, matches


def coco_matches(evaluation, label):
    """The Matches of a class, from pycocotools' evaluation."""
    num_images = len(evaluation.params.imgIds)
    num_areas = len(evaluation.params.areaRng)
    num_thresholds = len(evaluation.params.iouThrs)
    num_objects = np.zeros(num_images, int)
    scores = [np.zeros(0)]
    images = [np.zeros(0, int)]
    hits = [np.zeros((num_thresholds, 0), bool)]
    is_counted = [np.zeros((num_thresholds, 0), bool)]
    # evalImgs is sorted by class, range of areas and image; the first range holds all objects.
    start = label * num_areas * num_images
    for image, item in enumerate(evaluation.evalImgs[start : start + num_images]):
        if item is None:
            continue
        num_objects[image] = (np.asarray(item["gtIgnore"]) == 0).sum()
        scores.append(item["dtScores"])
        images.append(np.full(len(item["dtScores"]), image))
        is_ignored = np.asarray(item["dtIgnore"]).reshape(num_thresholds, -1).astype(bool)
        is_match = np.asarray(item["dtMatches"]).reshape(num_thresholds, -1) > 0
        hits.append(is_match & ~is_ignored)
        is_counted.append(~is_ignored)
    scores = np.concatenate(scores)
    images = np.concatenate(images)
    hits = np.concatenate(hits, axis=1)
    is_counted = np.concatenate(is_counted, axis=1)
    order = np.argsort(-scores, kind="mergesort")
    columns = (scores[order], images[order], hits[:, order], is_counted[:, order])
    return Matches(*columns, num_objects)


def ground_truth(classes, records):
    """The records as a COCO object; images keep their numbers, and categories are labels + 1."""
    annotations = []
    for image in range(len(records)):
        for row in range(records.offsets[image], records.offsets[image + 1]):
            left, top, right, bottom = records.boxes[row].tolist()
            # An area to ignore whatever the class becomes an object of every class.
            label = int(records.labels[row])
            for category in range(len(classes)) if label == ANY_CLASS else [label]:
                annotations.append(
                    dict(
                        # From 1: pycocotools takes a match with number 0 for no match.
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


def coco_detections(detections, truth):
    tables = []
    for image, image_detections in detections.items():
        boxes = image_detections["boxes"]
        scores = image_detections["scores"]
        images = np.full(len(scores), image)
        sizes = boxes[:, 2:] - boxes[:, :2]
        columns = (images, boxes[:, :2], sizes, scores, image_detections["labels"] + 1)
        tables.append(np.column_stack(columns))
    if sum(map(len, tables)):
        return truth.loadRes(np.concatenate(tables))
    # loadRes() fails without any detection.
    result = COCO()
    result.dataset = truth.dataset | dict(annotations=[])
    result.createIndex()
    return result


def mean_precision(precision):
    """The mean of the values that are known, nan if none is."""
    known = precision[precision > -1]
    return float(known.mean()) if len(known) else math.nan


def voc_metrics(classes, records, detections, metric="voc12"):
    """VOC's average precision of each class at an IoU of 0.5, and their mean, as compute_metrics()
    returns them."""
    matches = match_detections(classes, records, detections)
    per_class = {}
    for name, match in matches.items():
        num_objects = match.num_objects.sum()
        precision = average_precision(match.hits[0], num_objects, metric, match.is_counted[0])
        per_class[name] = dict(AP50=precision)
    mean = mean_precision(np.array([values["AP50"] for values in per_class.values()]))
    return dict(mAP=mean), per_class, matches


def match_detections(classes, records, detections, min_iou=0.5):
    """Which detections find an object, as PASCAL VOC decides it -> class name -> Matches.

    A detection is compared with the object of its class that it overlaps most. If a detection with
    a higher score has found that object, this one is false; if the object is to be ignored (a
    difficult one), the detection does not count. VOC's own program counts whole pixels, so that its
    boxes are one pixel wider and higher.
    """
    num_objects = np.zeros((len(classes), len(records)), int)
    tables = [np.zeros((0, 5))]
    for image in range(len(records)):
        rows = records.objects(image)
        true_labels = records.labels[rows]
        ignore = records.ignore[rows]
        np.add.at(num_objects[:, image], true_labels[~ignore], 1)
        if image not in detections:
            continue
        order = np.argsort(-detections[image]["scores"], kind="stable")
        boxes, scores, labels = (
            detections[image][name][order] for name in ("boxes", "scores", "labels")
        )
        hits, is_counted = match_image(
            boxes, labels, records.boxes[rows], true_labels, ignore, min_iou
        )
        images = np.full(len(order), image)
        tables.append(np.stack([labels, scores, images, hits, is_counted], axis=1))
    table = np.concatenate(tables)
    table = table[np.argsort(-table[:, 1], kind="stable")]
    matches = {}
    for label, name in enumerate(classes):
        _, scores, images, hits, is_counted = table[table[:, 0] == label].T
        matches[name] = Matches(
            scores, images.astype(int), hits[None] > 0, is_counted[None] > 0, num_objects[label]
        )
    return matches


def pairwise_iou(boxes, others):
    """The IoU of every pair, as an array: [N, 4], [M, 4] -> [N, M]."""
    return iou(torch.as_tensor(boxes).double(), torch.as_tensor(others).double()).numpy()


def match_image(boxes, labels, true_boxes, true_labels, ignore, min_iou):
    """Which detections of an image, the highest score first, are hits and which count: [D], [D]."""
    hits = np.zeros(len(boxes), bool)
    is_counted = np.ones(len(boxes), bool)
    if not len(boxes) or not len(true_boxes):
        return hits, is_counted
    overlap = pairwise_iou(boxes, true_boxes)
    overlap[(labels[:, None] != true_labels) & (true_labels != ANY_CLASS)] = -1
    best = overlap.argmax(axis=1)
    is_match = overlap.max(axis=1) >= min_iou
    is_counted[is_match & ignore[best]] = False
    possible = np.flatnonzero(is_match & ~ignore[best])
    # unique() returns the first detection of every object, which is the one with the highest score.
    _, first = np.unique(best[possible], return_index=True)
    hits[possible[first]] = True
    return hits, is_counted


def average_precision(hits, num_objects, metric="voc12", weights=None):
    """The precision of detections, averaged over recall; nan where there is no object.

    hits [D]: how many objects each detection, the highest score first, found. weights [D]: as how
    many detections it counts, by default 1; evaluate.interval() counts some images several times.
    PASCAL VOC takes the area below the curve of precision over recall, in 2007 the mean at eleven
    points of it, and COCO that at 101; at a recall that is never reached, it is zero.
    """
    if num_objects == 0:
        return math.nan
    ranks = np.arange(1, len(hits) + 1) if weights is None else np.cumsum(weights)
    true_positives = np.cumsum(hits)
    recall = true_positives / num_objects
    precision = true_positives / np.maximum(ranks, 1)
    # At every recall, the best precision at this recall or a higher one counts.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    if metric == "voc12":
        return float((np.diff(recall, prepend=0) * precision).sum())
    return float(np.append(precision, 0.0)[np.searchsorted(recall, RECALLS[metric])].mean())
