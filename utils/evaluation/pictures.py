"""The pictures of an evaluation: detections beside the truth, the worst mistakes, and curves."""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure

from layers.boxes import paired_iou
from utils import draw
from utils.evaluation.errors import (
    FALSE_ALARM,
    HIT,
    WRONG_BOX,
    WRONG_CLASS,
    group_ap50,
    is_missed,
    mean_ap50,
    object_groups,
    select_detections,
    select_objects,
)

SIDE, STRIP = 320, 24  # pixels of a picture, and of the text below it
MARGIN = 1.0  # what is shown around a box, times its larger side
KINDS_SHOWN = (FALSE_ALARM, WRONG_CLASS, WRONG_BOX)  # then the missed objects
MANY_CLASSES = 12  # with more, curves are drawn of all together, and names are left out


def prediction_sheet(dataset, detections, threshold, count=16):
    """The first images with the detections over the threshold; the truth is white."""
    threshold = 0.5 if math.isnan(threshold) else threshold
    pictures = []
    for index in range(min(count, len(dataset))):
        image, target = dataset.read(index)
        image_detections = detections[index]
        shown = image_detections["scores"] >= threshold
        boxes, labels, scores = (
            image_detections[name][shown] for name in ("boxes", "labels", "scores")
        )
        picture = draw.draw(image, boxes, labels, dataset.classes, scores, target["boxes"])
        pictures.append(picture)
    return draw.sheet(
        pictures, f"white: truth; coloured: detections with a score over {threshold:.2f}"
    )


def mistake_sheet(dataset, detections, errors, count=4):
    """A row of pictures for each kind: certain of nothing, wrong classes, poor boxes, and the
    largest missed objects. None where there is no mistake.

    What is certain of nothing is a false alarm, or an object that the annotation forgot.
    """
    rows = [worst_detections(errors, kind, count) for kind in KINDS_SHOWN]
    rows = [[detected_cell(dataset, detections, errors, i) for i in row] for row in rows]
    rows.append([missed_cell(dataset, i) for i in largest_missed(dataset.records, errors, count)])
    blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
    cells = [cell for row in rows if row for cell in row + [blank] * (count - len(row))]
    return draw.sheet(cells, columns=count, width=SIDE) if cells else None


def worst_detections(errors, kind, count):
    """The most certain detections with an error of a kind: at most one of an image, [<= count]."""
    wrong = np.flatnonzero(errors.kinds == kind)
    wrong = wrong[np.argsort(-errors.scores[wrong], kind="stable")]
    _, first = np.unique(errors.images[wrong], return_index=True)
    return wrong[np.sort(first)][:count].tolist()


def largest_missed(records, errors, count):
    """The rows of the largest objects that no detection comes near: [<= count]."""
    missed = np.flatnonzero(is_missed(errors))
    return missed[np.argsort(-records.areas[missed], kind="stable")][:count].tolist()


def detected_cell(dataset, detections, errors, number):
    """The picture of a wrong detection, with the objects around it in white."""
    image_number = int(errors.images[number])
    image, target = dataset.read(image_number)
    box = detections[image_number]["boxes"][errors.rows[number]]
    label, score = errors.labels[number], errors.scores[number]
    nearest, there = errors.objects[number], "nothing"
    if nearest >= 0:
        overlap = paired_iou(*map(torch.as_tensor, (box, dataset.records.boxes[nearest])))
        there = f"{dataset.classes[errors.object_labels[nearest]]}, IoU {overlap:.2f}"
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


def draw_quality(path, classes, records, errors, threshold):
    """Write a picture of four panels; threshold is the score with the best F1, or nan."""
    figure = Figure(figsize=(13, 10), layout="constrained")
    curves, choice, confusion, bars = figure.subplots(2, 2).flatten()
    draw_precision(curves, classes, errors)
    draw_choice(choice, errors, threshold)
    draw_confusion(confusion, classes, confusion_matrix(len(classes), errors, threshold))
    draw_groups(bars, classes, records, errors)
    figure.savefig(path, dpi=80)


def draw_precision(axes, classes, errors):
    """Precision against recall, of each class."""
    for label, name in enumerate(classes):
        chosen = select_detections(errors, errors.labels == label)
        chosen = select_objects(chosen, errors.object_labels == label)
        precision, recall = precision_recall(chosen)
        if len(classes) <= MANY_CLASSES and len(recall):
            area = mean_ap50(classes, chosen)
            axes.plot(recall, precision, label=f"{name} {area:.3f}", linewidth=1)
    precision, recall = precision_recall(errors)
    axes.plot(recall, precision, color="black", linewidth=2, label="all together")
    axes.set(title="precision at IoU 0.5", xlabel="recall", ylabel="precision")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
    axes.legend(loc="lower left")
    axes.grid(alpha=0.3)


def precision_recall(errors):
    """Precision and recall of all detections, the most certain first: [D], [D]."""
    order = np.argsort(-errors.scores, kind="stable")
    true_positives = np.cumsum(errors.kinds[order] == HIT)
    objects = max((errors.object_labels >= 0).sum(), 1)
    return true_positives / np.arange(1, len(order) + 1), true_positives / objects


def draw_choice(axes, errors, threshold):
    """Precision, recall and F1 of the detections over a score, against that score."""
    precision, recall = precision_recall(errors)
    scores = np.sort(errors.scores)[::-1]
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


def confusion_matrix(num_classes, errors, threshold):
    """How often an object of a class (row) was detected as another (column): [C + 1, C + 1].

    The last row and column are the background: false alarms, and objects that were missed.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), int)
    shown = errors.scores >= (0.5 if math.isnan(threshold) else threshold)
    seen = np.zeros(len(errors.object_labels), bool)
    for kind in (HIT, WRONG_CLASS):
        for i in np.flatnonzero(shown & (errors.kinds == kind)):
            row = errors.objects[i]
            if not seen[row]:
                matrix[errors.object_labels[row], errors.labels[i]] += 1
                seen[row] = True
                shown[i] = False
    for i in np.flatnonzero(shown & (errors.kinds != HIT)):
        matrix[num_classes, errors.labels[i]] += 1
    missed = errors.object_labels[~seen & (errors.object_labels >= 0)]
    np.add.at(matrix[:, num_classes], missed, 1)
    return matrix


def draw_groups(axes, classes, records, errors):
    """AP50 of small, medium and large objects of this dataset, and of crowded ones."""
    names, values = [], []
    for name, members in object_groups(records).items():
        if members.any():
            names.append(f"{name} ({members.sum()})")
            values.append(group_ap50(classes, errors, members))
    bars = axes.barh(names, values, color="tab:blue")
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.invert_yaxis()
    axes.set(title="AP50 of some objects only", xlim=(0, 1.1))
