"""How good a detector is, drawn: precision and recall, the choice of a score, confusions, sizes."""

import math

import numpy as np
import torch
from matplotlib.figure import Figure

from data.summary import box_sides
from layers.boxes import iou
from utils.evaluation.breakdown import CLASS, HIT, Explained, mean_ap50

MANY_CLASSES = 12  # with more, curves are drawn of all together, and names are left out


def draw_quality(path, classes, records, explained, threshold):
    """Write a picture of four panels; threshold is the score with the best F1, or nan."""
    figure = Figure(figsize=(13, 10), layout="constrained")
    curves, choice, confusion, bars = figure.subplots(2, 2).flatten()
    draw_precision(curves, classes, explained)
    draw_choice(choice, explained, threshold)
    draw_confusion(confusion, classes, confusion_matrix(len(classes), explained, threshold))
    draw_groups(bars, classes, records, explained)
    figure.savefig(path, dpi=80)


def draw_precision(axes, classes, explained):
    """Precision against recall, of each class."""
    for label, name in enumerate(classes):
        chosen = narrowed(explained, explained.labels == label, explained.object_labels == label)
        precision, recall = precision_recall(chosen)
        if len(classes) <= MANY_CLASSES and len(recall):
            area = mean_ap50(classes, chosen)
            axes.plot(recall, precision, label=f"{name} {area:.3f}", linewidth=1)
    precision, recall = precision_recall(explained)
    axes.plot(recall, precision, color="black", linewidth=2, label="all together")
    axes.set(title="precision at IoU 0.5", xlabel="recall", ylabel="precision")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
    axes.legend(loc="lower left")
    axes.grid(alpha=0.3)


def draw_choice(axes, explained, threshold):
    """Precision, recall and F1 of the detections over a score, against that score."""
    precision, recall = precision_recall(explained)
    scores = np.sort(explained.scores)[::-1]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    for name, values in (("precision", precision), ("recall", recall), ("F1", f1)):
        axes.plot(scores, values, label=name)
    if not math.isnan(threshold):
        axes.axvline(threshold, color="black", linestyle="--", label=f"best F1: {threshold:.2f}")
    axes.set(title="what a score threshold does", xlabel="score", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower center")
    axes.grid(alpha=0.3)


def draw_confusion(axes, classes, matrix):
    """Truth by row, detections by column, shares of a row as shades; the last is background."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= MANY_CLASSES:
        names = [*classes, "background"]
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for row, column in np.ndindex(matrix.shape):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, matrix[row, column], ha="center", va="center", color=shade)
    axes.set(title="confusions over that score", xlabel="detected as", ylabel="in truth")


def draw_groups(axes, classes, records, explained):
    """AP50 of small, medium and large objects of this dataset, and of crowded ones."""
    names, values = [], []
    for name, members in object_groups(records).items():
        if members.any():
            names.append(f"{name} ({members.sum()})")
            values.append(group_ap50(classes, explained, members))
    bars = axes.barh(names, values, color="tab:blue")
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.invert_yaxis()
    axes.set(title="AP50 of some objects only", xlim=(0, 1.1))


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


def precision_recall(explained):
    """Precision and recall of all detections, the most certain first: [D], [D]."""
    order = np.argsort(-explained.scores, kind="stable")
    true_positives = np.cumsum(explained.kinds[order] == HIT)
    objects = max((explained.object_labels >= 0).sum(), 1)
    return true_positives / np.arange(1, len(order) + 1), true_positives / objects


def confusion_matrix(num_classes, explained, threshold):
    """How often an object of a class (row) was detected as another (column): [C + 1, C + 1].

    The last row and column are the background: false alarms, and objects that were missed.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), int)
    shown = explained.scores >= (0.5 if math.isnan(threshold) else threshold)
    seen = np.zeros(len(explained.object_labels), bool)
    for kind in (HIT, CLASS):
        for i in np.flatnonzero(shown & (explained.kinds == kind)):
            row = explained.objects[i]
            if not seen[row]:
                matrix[explained.object_labels[row], explained.labels[i]] += 1
                seen[row] = True
                shown[i] = False
    for i in np.flatnonzero(shown & (explained.kinds != HIT)):
        matrix[num_classes, explained.labels[i]] += 1
    missed = explained.object_labels[~seen & (explained.object_labels >= 0)]
    np.add.at(matrix[:, num_classes], missed, 1)
    return matrix
