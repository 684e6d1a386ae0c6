"""Pictures of what a trained RetinaNet says: by level, before and after NMS, over a training."""

import numpy as np
import torch

from layers.detections import detections
from layers.priors import grid_size
from lesson.example import look, predictions
from lesson.style import (
    LEVELS,
    OBJECT,
    add_box,
    add_text,
    dim,
    new_figure,
    save_figure,
    show_image,
)
from utils.evaluation.metrics import average_precision

SHOWN = 0.3  # the least score of a detection in these pictures


def draw_pyramid(model):
    """The best score of every cell on every level, laid over the image -> numbers."""
    view = look("retinanet")
    scores = predictions(view, model).scores.max(dim=1).values
    figure, axes = new_figure(2, 3, height=4.6)
    numbers, height, width = {}, *view.image.shape[:2]
    size = tuple(view.images.shape[-2:])
    for axis, level, part in zip(axes.flat, view.levels, scores.split(view.level_sizes)):
        name = level_name(level)
        rows, columns = grid_size(size, level)
        best = part.view(rows, columns, -1).max(dim=-1).values
        axis.imshow(view.image, extent=(0, width, height, 0))
        axis.imshow(
            best, extent=(0, columns * level.stride, rows * level.stride, 0),
            cmap="magma", vmin=0, vmax=0.8, alpha=0.75,
        )  # fmt: skip
        axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        sides = [prior[2] - prior[0] for prior in level.base_priors]
        axis.set_title(f"{name}: {min(sides):.0f} to {max(sides):.0f} px", fontsize=9)
        axis.set_xlabel(f"best score {best.max():.2f}", fontsize=9)
        numbers[f"pyramid.{name.lower()}"] = f"{best.max():.2f}"
    save_figure(figure, "pyramid")
    return numbers


def level_name(level):
    """P3 for stride 8, P4 for 16, as in the paper."""
    return f"P{level.stride.bit_length() - 1}"


def detect_example(model, nms_iou):
    """The detections of the example image; nms_iou 1 suppresses nothing."""
    view = look("retinanet")
    prediction = predictions(view, model)
    return view, detections(
        prediction.deltas, prediction.logits, view.priors, view.image.shape[:2], model.scores,
        view.level_sizes, score_threshold=SHOWN, nms_iou=nms_iou,
    )  # fmt: skip


def draw_nms(model):
    """The same image's detections before and after non-maximum suppression -> numbers."""
    figure, axes = new_figure(1, 2, height=3.7)
    numbers = {}
    for axis, nms_iou, when in zip(axes, (1.0, 0.5), ("before", "after")):
        view, found = detect_example(model, nms_iou)
        count = len(found["scores"])
        show_image(axis, dim(view.image, 0.75), f"{when} NMS: {count} boxes score over {SHOWN}")
        columns = (found[key].tolist() for key in ("boxes", "labels", "scores"))
        for i, (box, label, score) in enumerate(zip(*columns)):
            add_box(axis, box, LEVELS[label], width=1.2, fill="none")
            if when == "after":
                # The less sure of two on one object is named below it.
                is_second = any(abs(box[1] - other[1]) < 8 and abs(box[0] - other[0]) < 8
                                for other in found["boxes"][:i].tolist())  # fmt: skip
                y = box[3] + 6 if is_second else box[1] - 1
                add_text(axis, box[0], y, f"{view.classes[label]} {score:.2f}", size=8)
        numbers[f"nms.{when}"] = f"{count}"
    save_figure(figure, "nms")
    return numbers | {"nms.shown": f"{SHOWN}", "nms.objects": f"{len(view.targets[0]['boxes'])}"}


def draw_strip(models):
    """One validation image's detections over the training; models: iteration -> RetinaNet ->
    numbers."""
    iterations = sorted(models)
    figure, axes = new_figure(2, len(iterations) // 2, height=4.6)
    numbers = {}
    for axis, iteration in zip(axes.flat, iterations):
        view, found = detect_example(models[iteration], 0.5)
        show_image(axis, dim(view.image, 0.75), f"after {iteration} iterations")
        for box in view.targets[0]["boxes"]:
            add_box(axis, box, OBJECT, width=1)
        for box, label in zip(found["boxes"], found["labels"]):
            add_box(axis, box, LEVELS[label], width=1.4, fill="none")
        best = max(found["scores"].tolist(), default=0)
        axis.set_xlabel(f"{len(found['scores'])} score over {SHOWN}", fontsize=9)
        numbers[f"strip.{iteration}"] = f"{len(found['scores'])}"
        numbers[f"strip.{iteration}.best"] = f"{best:.2f}"
    save_figure(figure, "strip")
    return numbers


def draw_curve(matches, name, operation):
    """Precision against recall of one class, its Matches, with AP as the area below -> numbers."""
    hits = matches.hits[0][matches.counts[0]]
    found = np.cumsum(hits)
    recall, precision = found / matches.objects.sum(), found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    area = average_precision(hits, matches.objects.sum())
    figure, axes = new_figure(height=3.6)
    axes.fill_between(recall, envelope, step="pre", color=LEVELS[1], alpha=0.35,
                      label=f"AP50 {area:.3f}: the area")  # fmt: skip
    axes.plot(recall, precision, color=LEVELS[6], linewidth=1.2, label="precision so far")
    axes.plot(
        operation.recall, operation.precision, "o", color=LEVELS[4], markersize=8,
        label=f"best F1, {operation.f1:.2f}, at score {operation.threshold:.2f}",
    )  # fmt: skip
    axes.set(
        xlabel="recall: found objects / all objects", ylabel="precision: right / shown",
        xlim=(0, 1), ylim=(0, 1.02), title=f"{name}, from the surest detection to the least sure",
    )  # fmt: skip
    axes.legend(fontsize=9, loc="lower left")
    save_figure(figure, "curve")
    return {
        "curve.class": name,
        "curve.ap50": f"{area:.3f}",
        "curve.precision": f"{operation.precision:.2f}",
        "curve.recall": f"{operation.recall:.2f}",
        "curve.f1": f"{operation.f1:.2f}",
        "curve.threshold": f"{operation.threshold:.2f}",
        "curve.objects": f"{matches.objects.sum()}",
    }


def receptive_field(model, level):
    """How many pixels wide the part of the image is that a cell in the middle of a level can see:
    where the gradient of its values is not zero."""
    images = torch.zeros(1, 3, 1024, 1024).requires_grad_()
    feature_map = model.feature_maps(images)[level]
    middle = feature_map.shape[-1] // 2
    feature_map[0, :, middle, middle].sum().backward()
    seen = images.grad.abs().amax(dim=(0, 1, 2)).nonzero()[:, 0]
    return int(seen.max() - seen.min()) + 1
