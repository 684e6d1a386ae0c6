"""How good detections are: COCO's average precision, by pycocotools, and PASCAL VOC's."""
import contextlib
import io
import math

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data.records import ANY
from layers.boxes import iou

METRICS = ("coco", "voc07", "voc12")
NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
         "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")


def judge(metric, classes, records, found):
    """The metrics of that name: averages, the one that counts first, and those of each class; 0 to 1.

    found: image number -> dict of boxes [D, 4] (pixels of the original image), scores [D], labels [D], as arrays.
    """
    if metric == "coco":
        return coco_metrics(classes, records, found)
    return voc_metrics(classes, records, found, eleven_points=metric == "voc07")


def coco_metrics(classes, records, found):
    """COCO's twelve numbers and each class's AP and AP50, nan where there is nothing to find; as judge()."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = ground_truth(classes, records)
        rows = [np.column_stack([np.full(len(one["scores"]), image), one["boxes"][:, :2],
                                 one["boxes"][:, 2:] - one["boxes"][:, :2], one["scores"], one["labels"] + 1])
                for image, one in found.items() if len(one["scores"])]
        guess = truth.loadRes(np.concatenate(rows)) if rows else empty_like(truth)
        evaluation = COCOeval(truth, guess, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # precision: [IoU threshold, recall, class, area, limit]; -1 where a class has no object.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    average = dict(zip(NAMES, np.where(evaluation.stats < 0, math.nan, evaluation.stats).tolist()))
    each = {name: dict(AP=mean(precision[:, :, i]), AP50=mean(precision[0, :, i])) for i, name in enumerate(classes)}
    return average, each


def ground_truth(classes, records):
    """The records as pycocotools wants them; images and classes numbered as ours are."""
    # What is to be ignored for any class is an object of every class.
    anything = records.labels == ANY
    copies = np.where(anything, len(classes), 1)
    row = np.repeat(np.arange(len(copies)), copies)
    label = np.where(anything[row], np.arange(len(row)) - (np.cumsum(copies) - copies)[row], records.labels[row])
    image = np.repeat(np.arange(len(records)), np.diff(records.offsets))[row].tolist()
    corners, sides = records.boxes[row, :2].tolist(), (records.boxes[:, 2:] - records.boxes[:, :2])[row].tolist()
    areas, ignore = records.areas[row].tolist(), records.ignore[row].tolist()
    truth = COCO()
    truth.dataset = dict(
        images=[dict(id=i, height=int(height), width=int(width)) for i, (height, width) in enumerate(records.sizes)],
        categories=[dict(id=i, name=name) for i, name in enumerate(classes, start=1)],
        annotations=[dict(id=i + 1, image_id=image[i], category_id=kind + 1, bbox=[*corners[i], *sides[i]],
                          area=areas[i], iscrowd=int(ignore[i])) for i, kind in enumerate(label.tolist())])
    truth.createIndex()
    return truth


def empty_like(truth):
    """No detections at all, which pycocotools cannot load."""
    guess = COCO()
    guess.dataset = truth.dataset | dict(annotations=[])
    guess.createIndex()
    return guess


def mean(precision):
    known = precision[precision > -1]
    return float(known.mean()) if len(known) else math.nan


def voc_metrics(classes, records, found, eleven_points=False):
    """VOC's average precision of each class at IoU 0.5, and their mean; nan where there is nothing to find.

    VOC2007 averages the precision at eleven recalls, later years take the area below the curve. Objects to ignore, the
    difficult ones, are neither found nor missed. Arguments as for judge.
    """
    each = {}
    for label, name in enumerate(classes):
        scores, hits, objects = voc_hits(label, records, found)
        each[name] = dict(AP50=math.nan if objects == 0 else average_precision(scores, hits, objects, eleven_points))
    values = [one["AP50"] for one in each.values() if not math.isnan(one["AP50"])]
    return dict(mAP=float(np.mean(values)) if values else math.nan), each


def voc_hits(label, records, found):
    """A class's detections that count: scores [D], whether each found an object [D]; and how many objects there are.

    In each image, detections take turns, the surest first. Each is judged by the object it overlaps most; an object
    that was found before makes it a false one, an object to ignore makes it nobody's business.
    """
    scores, hits, objects = [], [], 0
    for image in range(len(records)):
        rows = records.objects(image)
        chosen = (records.labels[rows] == label) | (records.labels[rows] == ANY)
        truth, ignore = records.boxes[rows][chosen], records.ignore[rows][chosen]
        objects += (~ignore).sum()
        if image not in found:
            continue
        mine = found[image]["labels"] == label
        boxes, sure = found[image]["boxes"][mine], found[image]["scores"][mine]
        overlap = iou(torch.as_tensor(boxes).double(), torch.as_tensor(truth).double()).numpy()
        taken = np.zeros(len(truth), bool)
        for i in np.argsort(-sure, kind="stable"):
            best = overlap[i].argmax() if len(truth) else None
            hit = best is not None and overlap[i, best] > 0.5
            if hit and ignore[best]:
                continue
            scores.append(sure[i])
            hits.append(bool(hit and not taken[best]))
            if hit:
                taken[best] = True
    return np.array(scores), np.array(hits, bool), int(objects)


def average_precision(scores, hits, objects, eleven_points):
    """What precision a class's detections have, averaged over recall."""
    hits = hits[np.argsort(-scores, kind="stable")]
    found = np.cumsum(hits)
    recall, precision = found / objects, found / np.arange(1, len(hits) + 1)
    # The best precision that is to be had at this recall or a higher one.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    if eleven_points:
        return float(np.mean([precision[recall >= point].max(initial=0) for point in np.linspace(0, 1, 11)]))
    return float((np.diff(recall, prepend=0) * precision).sum())
