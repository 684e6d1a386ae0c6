"""Pictures of what a trained network detects: its pyramid, NMS, its training, AP's curve."""

import copy

import numpy as np
import torch

from layers.detections import detections
from layers.priors import grid_size
from lesson.example import look, predictions
from lesson.style import (
    CLASSES,
    LINES,
    OBJECT_COLOUR,
    POSITIVE_COLOUR,
    add_box,
    add_colours,
    add_text,
    dim,
    new_figure,
    save_figure,
    show_image,
)
from utils.evaluation.metrics import average_precision

NAME_SIZE = (3.4, 8)  # of a letter in draw_nms, in pixels of the image: width and height
SHOWN = 0.3  # the lowest score of a detection in these pictures


def draw_pyramid(model):
    """Draw the best score of every cell over the image, level by level -> numbers."""
    view = look("retinanet")
    scores = predictions(view, model).scores.max(dim=1).values
    figure, axes = new_figure(2, 3, height=4.8)
    numbers = {}
    height, width = view.image.shape[:2]
    size = tuple(view.images.shape[-2:])
    for axis, level, part in zip(axes.flat, view.levels, scores.split(view.level_counts)):
        name = level_name(level)
        rows, columns = grid_size(size, level)
        best = part.view(rows, columns, -1).max(dim=-1).values
        extent = (0, columns * level.stride, rows * level.stride, 0)
        heat = axis.imshow(best, extent=extent, cmap="magma", vmin=0, vmax=1)
        for box in view.targets[0]["boxes"]:
            add_box(axis, box, OBJECT_COLOUR, width=0.8, fill="none")
        sides = [prior[2] - prior[0] for prior in level.base_priors]
        axis.set(
            xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[],
            title=f"{name}: {min(sides):.0f} to {max(sides):.0f} px",
            xlabel=f"best score {best.max():.2f}",
        )  # fmt: skip
        numbers[f"pyramid.{name.lower()}"] = f"{best.max():.2f}"
    figure.colorbar(heat, ax=axes, label="best score of a cell", ticks=[0, 0.5, 1], shrink=0.8)
    save_figure(figure, "pyramid")
    return numbers


def level_name(level):
    """The paper's name of a level: P3 for stride 8, P4 for stride 16."""
    return f"P{level.stride.bit_length() - 1}"


def detect_example(model, nms_iou):
    """The View of the example image and its detections; nms_iou 1 suppresses nothing."""
    view = look("retinanet")
    prediction = predictions(view, model)
    return view, detections(
        prediction.deltas, prediction.logits, view.priors, view.image.shape[:2], model.scores,
        view.level_counts, score_threshold=SHOWN, nms_iou=nms_iou,
    )  # fmt: skip


def draw_nms(model):
    """Draw an image's detections before and after non-maximum suppression -> numbers."""
    figure, axes = new_figure(1, 2, height=4.2)
    numbers = {}
    for axis, nms_iou, when in zip(axes, (1.0, 0.5), ("before", "after")):
        view, found = detect_example(model, nms_iou)
        count = len(found["scores"])
        show_image(axis, dim(view.image, 0.6), f"{when} NMS: {count} boxes")
        columns = [found[key].tolist() for key in ("boxes", "labels", "scores")]
        add_detections(axis, found, width=1.4)
        if when == "after":
            texts = [f"{view.classes[label]} {score:.2f}" for _, label, score in zip(*columns)]
            add_names(axis, columns[0], texts, view.image.shape[1])
        numbers[f"nms.{when}"] = f"{count}"
    add_colours(figure, view.classes, CLASSES)
    save_figure(figure, "nms")
    return numbers | {"nms.shown": f"{SHOWN}", "nms.objects": f"{len(view.targets[0]['boxes'])}"}


def add_detections(axes, found, width):
    """Draw detections in the colours of their classes, the best ones on top."""
    for box, label in zip(found["boxes"].flip(0), found["labels"].flip(0)):
        add_box(axes, box, CLASSES[label], width=width, fill="none")


def add_names(axes, boxes, texts, image_width):
    """Write a text above, below, in or beside each box, where it covers no other text."""
    height = NAME_SIZE[1]
    taken = []
    for (left, top, right, bottom), text in zip(boxes, texts):
        width = NAME_SIZE[0] * len(text)
        middle = (top + bottom + height) / 2
        # Within a box that is wide enough; beside it, a text could seem to be that of a neighbour.
        inside = [(left + 2, bottom - 2)] if right - left > width + 4 else []
        starts = (
            (left, top - 1), (left, bottom + height + 1), (right - width, top - 1),
            (right - width, bottom + height + 1), *inside, (right + 2, middle),
            (left - width - 2, middle),
        )  # fmt: skip
        for x, y in starts:
            place = (x, y - height, x + width, y)
            free = all(
                place[2] < other[0] or other[2] < place[0] or place[3] < other[1]
                or other[3] < place[1]
                for other in taken
            )  # fmt: skip
            if free and x >= 0 and x + width <= image_width:
                break
        taken.append(place)
        add_text(axes, x, y, text, size=11)


def draw_strip(models):
    """Draw the example image's detections in the course of training -> numbers.

    models: iteration -> RetinaNet.
    """
    iterations = sorted(models)
    figure, axes = new_figure(2, len(iterations) // 2, height=6.2)
    numbers = {}
    for axis, iteration in zip(axes.flat, iterations):
        view, found = detect_example(models[iteration], 0.5)
        show_image(axis, dim(view.image, 0.6), f"after {iteration}")
        for box in view.targets[0]["boxes"]:
            add_box(axis, box, OBJECT_COLOUR, width=1)
        add_detections(axis, found, width=1.8)
        best = max(found["scores"].tolist(), default=0)
        axis.set_xlabel(f"{len(found['scores'])} over {SHOWN}")
        numbers[f"strip.{iteration}"] = f"{len(found['scores'])}"
        numbers[f"strip.{iteration}.best"] = f"{best:.2f}"
    add_colours(figure, view.classes, CLASSES)
    save_figure(figure, "strip")
    return numbers


def draw_curve(matches, name, point):
    """Draw precision against recall of a class at three IoU thresholds -> numbers.

    matches: its Matches. point: its OperatingPoint with the best F1.
    """
    num_objects = matches.num_objects.sum()
    figure, axes = new_figure(height=4.2)
    numbers = {}
    for row, iou_name, colour in (
        (0, "AP50", LINES[4]),
        (5, "AP75", LINES[2]),
        (8, "AP90", LINES[0]),
    ):
        hits = matches.hits[row][matches.is_counted[row]]
        found = np.cumsum(hits)
        area = average_precision(hits, num_objects)
        label = f"{iou_name}, at an IoU of 0.{iou_name[2:]}: {area:.3f}"
        axes.plot(
            found / num_objects, found / np.arange(1, len(hits) + 1), color=colour, label=label
        )
        numbers[f"curve.{iou_name.lower()}"] = f"{area:.3f}"
    axes.plot(
        point.recall, point.precision, "o", color=POSITIVE_COLOUR, markersize=9,
        label=f"best F1, at a score of {point.threshold:.2f}",
    )  # fmt: skip
    axes.set(
        xlabel="recall: found objects / all objects", ylabel="precision: hits / shown",
        xlim=(0, 1.01), ylim=(0, 1.03), title=f"class {name}: down the list of detections",
    )  # fmt: skip
    axes.legend(loc="lower left")
    save_figure(figure, "curve")
    return numbers | {
        "curve.class": name,
        "curve.precision": f"{point.precision:.2f}",
        "curve.recall": f"{point.recall:.2f}",
        "curve.f1": f"{point.f1:.2f}",
        "curve.threshold": f"{point.threshold:.2f}",
        "curve.objects": f"{num_objects}",
    }


def receptive_fields(model, level):
    """The smallest and the largest width in pixels of what a cell of a level can see of the image.

    With positive weights alone, no ReLU hides a path; where the largest pixel is taken, all are.
    Cells differ, because a coarse cell is enlarged to several fine ones.
    """
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data.abs_()
    model.base.maxpool = torch.nn.AvgPool2d(3, stride=2, padding=1)
    widths = []
    for step in range(8):
        images = torch.full((1, 3, 64, 1024), 255.0).requires_grad_()
        feature_map = model.feature_maps(images)[level]
        rows, columns = feature_map.shape[-2:]
        feature_map[0, :, rows // 2, columns // 2 + step].sum().backward()
        seen = images.grad.abs().amax(dim=(0, 1, 2)).nonzero()[:, 0]
        widths.append(int(seen.max() - seen.min()) + 1)
    return min(widths), max(widths)
