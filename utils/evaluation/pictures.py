"""The pictures of an evaluation: detections with the truth, the worst mistakes, and curves."""

import math
from pathlib import Path

import matplotlib
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

SIDE = 320  # pixels of a mistake's picture with its text
LINE_HEIGHT = 24  # pixels of each of the two lines of text
MARGIN = 1.0  # around a box, as a share of its longer side
KINDS_SHOWN = (FALSE_ALARM, WRONG_CLASS, WRONG_BOX)  # each in a row, above the missed objects
MAX_CLASSES = 12  # with more, a panel has no room for the curve and the name of each class


def prediction_sheet(dataset, detections, threshold, count=16):
    """The first images with their detections from the threshold on, and the truth in white."""
    threshold = threshold_or_half(threshold)
    pictures = []
    for index in range(min(count, len(dataset))):
        image, target = dataset.read(index)
        is_shown = detections[index]["scores"] >= threshold
        boxes, labels, scores = (
            detections[index][name][is_shown] for name in ("boxes", "labels", "scores")
        )
        truth = target["boxes"][~target["ignore"]]
        picture = draw.draw(image, boxes, labels, dataset.classes, scores, truth)
        pictures.append(picture)
    caption = f"white: truth; coloured: detections with a score of at least {threshold:.2f}"
    return draw.sheet(pictures, caption)


def threshold_or_half(threshold):
    """The threshold with the best F1, or 0.5 if that is nan because no detection is right."""
    return 0.5 if math.isnan(threshold) else threshold


def mistake_sheet(dataset, detections, errors, count=4):
    """Rows of pictures: false alarms, wrong classes, poor boxes and missed objects.

    The detections have the highest scores of their kind, and the missed objects are the largest. A
    false alarm may be an object that the annotation lacks. None if there is no mistake.
    """
    rows = [worst_detections(errors, kind, count) for kind in KINDS_SHOWN]
    rows = [[detected_cell(dataset, detections, errors, i) for i in row] for row in rows]
    rows.append([missed_cell(dataset, i) for i in largest_missed(dataset.records, errors, count)])
    blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
    cells = [cell for row in rows if row for cell in row + [blank] * (count - len(row))]
    return draw.sheet(cells, columns=count, width=SIDE) if cells else None


def worst_detections(errors, kind, count):
    """The numbers of the detections of a kind with the highest scores, at most one per image."""
    numbers = np.flatnonzero(errors.kinds == kind)
    _, first = np.unique(errors.images[numbers], return_index=True)
    return numbers[np.sort(first)][:count].tolist()


def largest_missed(records, errors, count):
    """The records' rows of the largest missed objects."""
    rows = np.flatnonzero(is_missed(errors))
    return rows[np.argsort(-records.areas[rows], kind="stable")][:count].tolist()


def detected_cell(dataset, detections, errors, number):
    """The picture of a wrong detection, with the objects around it in white."""
    image_number = int(errors.images[number])
    box = detections[image_number]["boxes"][errors.rows[number]]
    label = errors.labels[number]
    truth = "nothing"
    row = errors.objects[number]
    if row >= 0:
        overlap = paired_iou(*map(torch.as_tensor, (box, dataset.records.boxes[row])))
        truth = f"{dataset.classes[errors.object_labels[row]]}, IoU {overlap:.2f}"
    text = f"{dataset.classes[label]} {errors.scores[number]:.2f}; truth: {truth}"
    return box_cell(dataset, image_number, box, draw.colour(label), text)


def missed_cell(dataset, row):
    """The picture of a missed object, with those around it in white."""
    records = dataset.records
    image_number = int(np.searchsorted(records.offsets, row, side="right")) - 1
    label = records.labels[row]
    text = f"missed: {dataset.classes[label]}"
    return box_cell(dataset, image_number, records.boxes[row], draw.colour(label), text)


def box_cell(dataset, image_number, box, shade, text):
    """The picture of a box, drawn over the annotated boxes, which are white."""
    image, target = dataset.read(image_number)
    boxes = [(true_box, draw.WHITE) for true_box in target["boxes"][~target["ignore"]]]
    name = Path(dataset.records.path(image_number)).name
    return cell(image, box, [*boxes, (box, shade)], name, text)


def cell(image, box, boxes, name, text):
    """The surroundings of a box with all boxes, and below the image's name and a text.

    boxes: (box, colour) of each that is drawn -> [SIDE, SIDE, 3].
    """
    left, top, right, bottom = box
    margin = MARGIN * max(right - left, bottom - top)
    # A detection that ends at the image's border may be a mere line there.
    border = np.array([image.shape[1], image.shape[0]]) - 1
    first = np.clip(np.floor([left - margin, top - margin]), 0, border).astype(int)
    last = np.maximum(np.ceil([right + margin, bottom + margin]).astype(int), first + 1)
    part = image[first[1] : last[1], first[0] : last[0]]
    height = SIDE - 2 * LINE_HEIGHT
    scale = height / max(part.shape[:2])
    enlarged = draw.resize_to(part, height)
    for shown, shade in boxes:
        draw.rectangle(enlarged, (np.asarray(shown) - [*first, *first]) * scale, shade, 2)
    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    canvas[: enlarged.shape[0], : enlarged.shape[1]] = enlarged
    # The end of a name and the beginning of a text say most, if one is too long.
    for number, line in enumerate((name[-40:], text[:44])):
        corner = (4, SIDE - 2 * LINE_HEIGHT + 18 + LINE_HEIGHT * number)
        draw.write_line(canvas, line, corner, scale=0.45)
    return canvas


def draw_quality(path, classes, records, errors, threshold):
    """Write a picture of four panels; threshold is the score with the best F1, or nan."""
    # The name of a class may have dollar signs in it.
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(13, 10), layout="constrained")
        upper_left, upper_right, lower_left, lower_right = figure.subplots(2, 2).flatten()
        draw_precision(upper_left, classes, errors)
        draw_thresholds(upper_right, errors, threshold)
        draw_confusion(lower_left, classes, confusion_matrix(len(classes), errors, threshold))
        draw_groups(lower_right, classes, records, errors)
        draw.write_figure(path, figure, dpi=80)


def draw_precision(axes, classes, errors):
    """Plot precision against recall, for each class and for all together."""
    for label, name in enumerate(classes):
        chosen = select_detections(errors, errors.labels == label)
        chosen = select_objects(chosen, errors.object_labels == label)
        precision, recall = precision_recall(chosen)
        if len(classes) <= MAX_CLASSES and len(recall):
            area = mean_ap50(classes, chosen)
            # A legend leaves out what begins with an underscore, as a name may.
            axes.plot(recall, precision, label=f"{area:.3f} {name}", linewidth=1)
    precision, recall = precision_recall(errors)
    axes.plot(recall, precision, color="black", linewidth=2, label="all together")
    axes.set(title="precision at IoU 0.5", xlabel="recall", ylabel="precision")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
    axes.legend(loc="lower left")
    axes.grid(alpha=0.3)


def precision_recall(errors):
    """Precision and recall down to each detection: [D], [D]."""
    true_positives = np.cumsum(errors.kinds == HIT)
    num_objects = max((errors.object_labels >= 0).sum(), 1)
    return true_positives / np.arange(1, len(errors.kinds) + 1), true_positives / num_objects


def draw_thresholds(axes, errors, threshold):
    """Plot precision, recall and F1 against the score threshold, and mark the best one."""
    precision, recall = precision_recall(errors)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    for name, values in (("precision", precision), ("recall", recall), ("F1", f1)):
        axes.plot(errors.scores, values, label=name)
    if not math.isnan(threshold):
        axes.axvline(threshold, color="black", linestyle="--", label=f"best F1: {threshold:.2f}")
    axes.set(title="what a score threshold does", xlabel="score", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower center")
    axes.grid(alpha=0.3)


def draw_confusion(axes, classes, matrix):
    """Show a confusion_matrix(); the shades are shares of a row."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= MAX_CLASSES:
        names = [*classes, "background"]
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for row, column in np.ndindex(matrix.shape):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, matrix[row, column], ha="center", va="center", color=shade)
    axes.set(title="confusions at that threshold", xlabel="detected as", ylabel="in truth")


def confusion_matrix(num_classes, errors, threshold):
    """How often objects of a class (row) were detected as another (column): [C + 1, C + 1].

    The last row and column are the background: false alarms, and missed objects.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), int)
    is_shown = errors.scores >= threshold_or_half(threshold)
    is_detected = np.zeros(len(errors.object_labels), bool)
    # An object counts once, and by its hit if it has one.
    for kind in (HIT, WRONG_CLASS):
        for i in np.flatnonzero(is_shown & (errors.kinds == kind)):
            row = errors.objects[i]
            if not is_detected[row]:
                matrix[errors.object_labels[row], errors.labels[i]] += 1
                is_detected[row] = True
                is_shown[i] = False
    for i in np.flatnonzero(is_shown & (errors.kinds != HIT)):
        matrix[num_classes, errors.labels[i]] += 1
    missed = errors.object_labels[~is_detected & (errors.object_labels >= 0)]
    np.add.at(matrix[:, num_classes], missed, 1)
    return matrix


def draw_groups(axes, classes, records, errors):
    """Plot AP50 for small, medium and large objects, and for overlapping ones."""
    names = []
    values = []
    for name, members in object_groups(records).items():
        if members.any():
            names.append(f"{name} ({members.sum()})")
            values.append(group_ap50(classes, errors, members))
    bars = axes.barh(names, values, color="tab:blue")
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.invert_yaxis()
    axes.set(title="AP50 for some objects only", xlim=(0, 1.1))
