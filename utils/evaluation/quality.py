"""How good a detector is, drawn: precision and recall, the choice of a score, confusions, sizes."""

import math

import numpy as np
from matplotlib.figure import Figure

from utils.evaluation.errors import (
    confusion_matrix,
    group_ap50,
    mean_ap50,
    narrowed,
    object_groups,
    precision_recall,
)

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
