"""Pictures of a training: what the network is shown, what its errors cost, what it detects."""

import numpy as np
import torch

from data.transforms import crop, crop_and_resize, distort, expand
from layers.detections import detections
from layers.losses import cost_if_absent
from layers.matching import BACKGROUND, IGNORED
from layers.priors import grid_size
from lesson.example import IMAGE, NAMES, look, predictions, val_dataset
from lesson.style import (
    IGNORED_COLOUR,
    INK,
    LEVELS,
    OBJECT_COLOUR,
    add_box,
    add_text,
    dim,
    new_figure,
    save_figure,
    show_image,
)
from utils.evaluation.metrics import average_precision

SEED = 2  # With it, the four windows are of different kinds.
GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)
EASY = 0.1  # the probability that a network, while it learns, gives to a class that is not there
SHOWN = 0.3  # the lowest score of a detection in these pictures


def draw_augmentation(windows=4):
    """Draw SSD's random windows on an image, and what the network then sees -> numbers."""
    dataset = val_dataset("ssd")
    image, target = dataset.read(IMAGE)
    random = np.random.default_rng(SEED)
    height, width = image.shape[:2]
    figure, axes = new_figure(2, windows, height=4.3)
    numbers = {}
    for i in range(windows):
        window = expand((height, width), random)
        window, _, asked = crop(window, target["boxes"], target["ignore"], random)
        mirrored = random.random() < 0.5
        seen, kept = crop_and_resize(window, image, target, (300, 300), (123, 117, 104), mirrored)
        show_image(axes[0, i], image)
        add_box(axes[0, i], window, LEVELS[4], width=2)
        left, top, right, bottom = window
        axes[0, i].set(
            xlim=(min(left, 0) - 8, max(right, width) + 8),
            ylim=(max(bottom, height) + 8, min(top, 0) - 8),
        )
        rule = "no crop" if asked is None else f"an IoU of {asked:g} or more"
        axes[0, i].set_title(rule, fontsize=10)
        show_image(axes[1, i], distort(seen, random), "mirrored" if mirrored else "")
        for box in kept["boxes"]:
            add_box(axes[1, i], box, OBJECT_COLOUR, width=1.2)
        count = len(kept["boxes"])
        axes[1, i].set_xlabel(f"{count} of {len(target['boxes'])} objects", fontsize=9)
        numbers[f"augmentation.{i}"] = f"{count}"
    axes[0, 0].set_ylabel("the window")
    axes[1, 0].set_ylabel("what the network sees")
    save_figure(figure, "augmentation")
    return numbers


def draw_imbalance():
    """Draw how many priors are background, and what they cost by gamma -> numbers."""
    figure, (counts, curves) = new_figure(1, 2, height=3.5)
    numbers = {}
    names = ("ssd", "retinanet")
    for place, name in enumerate(names):
        labels = look(name).labels
        kinds = (labels >= 0, labels == IGNORED, labels == BACKGROUND)
        colours = (LEVELS[4], IGNORED_COLOUR, LEVELS[6])
        for shift, (is_kind, colour) in enumerate(zip(kinds, colours)):
            count = int(is_kind.sum())
            x = place + (shift - 1) * 0.27
            # A bar of no priors would have no place on the logarithmic scale.
            height = max(count, 0.8)
            counts.bar(x, height, 0.25, color=colour)
            counts.text(x, height * 1.15, f"{count:,}", ha="center", fontsize=9)
    counts.set(yscale="log", xticks=range(2), xticklabels=map(NAMES.get, names), ylim=(0.8, 4e4))
    counts.set_title("priors of the example image:\nmatched, ignored, background", fontsize=10)

    p = torch.linspace(0.001, 0.999, 400)
    logits = torch.log(p / (1 - p))
    for gamma, colour in zip(GAMMAS, LEVELS[1:3] + LEVELS[4:]):
        curves.plot(p, cost_if_absent(logits, gamma), color=colour, label=f"gamma {gamma:g}")
        easy = cost_if_absent(torch.tensor(np.log(EASY / (1 - EASY))), gamma).item()
        numbers[f"imbalance.gamma{gamma:g}"] = f"{easy:.5f}"
    curves.axvspan(0, 0.4, color="#eeeeee")
    curves.text(0.2, 3.2, "easy\nbackground", ha="center", fontsize=9, color=INK)
    curves.set(xlabel="p, the probability given to a class that is not there", ylim=(0, 4))
    curves.set_title("its cost: p^gamma * -log(1 - p)", fontsize=10)
    curves.legend(fontsize=8, loc="upper center")
    save_figure(figure, "imbalance")
    # As they are in the text, so that a reader who divides them gets the same.
    times = float(numbers["imbalance.gamma0"]) / float(numbers["imbalance.gamma2"])
    return numbers | {"imbalance.times": f"{times:.0f}"}


def draw_cumulative(models):
    """Draw what share of the background's loss its easy part has, by gamma -> numbers.

    models: iteration -> RetinaNet; the first and the last are drawn.
    """
    figure, axes = new_figure(1, 2, height=3.3, sharey=True)
    numbers = {}
    view = look("retinanet")
    ends = dict(start=min(models), end=max(models))
    for axis, (when, iteration) in zip(axes, ends.items()):
        logits = predictions(view, models[iteration]).logits[view.labels == BACKGROUND].flatten()
        for gamma, colour in zip(
            (0.0, 1.0, 2.0, 5.0), (LEVELS[1], LEVELS[2], LEVELS[4], LEVELS[6])
        ):
            costs = cost_if_absent(logits, gamma).sort().values.double()
            share = (costs.cumsum(0) / costs.sum()).numpy()
            axis.plot(np.linspace(0, 1, len(share)), share, color=colour, label=f"gamma {gamma:g}")
            hardest = 1 - share[int(len(share) * 0.99) - 1]
            numbers[f"cumulative.{when}.gamma{gamma:g}"] = f"{hardest:.0%}"
        axis.set_title(f"iteration {iteration}", fontsize=10)
        axis.set_xlabel("share of the background's logits, easiest first")
    axes[0].set_ylabel("share of their loss")
    axes[0].legend(fontsize=8)
    save_figure(figure, "cumulative")
    return numbers


def draw_mining(models):
    """Draw the negatives that SSD's mining keeps; models: iteration -> SSD300 -> numbers."""
    iterations = sorted(models)
    figure, axes = new_figure(1, len(iterations), height=3.7)
    numbers = {}
    view = look("ssd")
    objects = view.targets[0]["boxes"]
    for axis, iteration in zip(axes, iterations):
        prediction = predictions(view, models[iteration])
        is_background = view.labels == BACKGROUND
        kept = prediction.counts & is_background
        show_image(axis, dim(view.image, 0.7), f"after {iteration} iterations")
        for row in kept.nonzero()[:, 0].tolist():
            colour = LEVELS[view.level_of(row)]
            add_box(axis, view.priors[row], colour, width=0.8, fill="none")
        for box in objects:
            add_box(axis, box, OBJECT_COLOUR, width=1.4)
        height, width = view.image.shape[:2]
        axis.set(xlim=(0, width), ylim=(height, 0))
        touching = (view.overlaps[:, kept].max(dim=0).values > 0.1).float().mean().item()
        key = f"mining.{iteration}"
        numbers[f"{key}.kept"] = f"{int(kept.sum())}"
        numbers[f"{key}.touching"] = f"{touching:.0%}"
        costs = prediction.class_costs[is_background]
        share = prediction.class_costs[kept].sum() / costs.sum()
        numbers[f"{key}.share"] = f"{share:.0%}"
        axis.set_xlabel(
            f"{int(kept.sum())} kept, {touching:.0%} of them\ntouch an object", fontsize=9
        )
    save_figure(figure, "mining")
    return numbers


def draw_pyramid(model):
    """Draw the best score of every cell over the image, level by level -> numbers."""
    view = look("retinanet")
    scores = predictions(view, model).scores.max(dim=1).values
    figure, axes = new_figure(2, 3, height=4.6)
    numbers = {}
    height, width = view.image.shape[:2]
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
    """The paper's name of a level: P3 for stride 8, P4 for stride 16."""
    return f"P{level.stride.bit_length() - 1}"


def detect_example(model, nms_iou):
    """The View of the example image and its detections; nms_iou 1 suppresses nothing."""
    view = look("retinanet")
    prediction = predictions(view, model)
    return view, detections(
        prediction.deltas, prediction.logits, view.priors, view.image.shape[:2], model.scores,
        view.level_sizes, score_threshold=SHOWN, nms_iou=nms_iou,
    )  # fmt: skip


def draw_nms(model):
    """Draw an image's detections before and after non-maximum suppression -> numbers."""
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
                # Of two detections of one object, the one with the lower score is named below it.
                better = found["boxes"][:i].tolist()
                is_second = any(is_near(box, other) for other in better)
                y = box[3] + 6 if is_second else box[1] - 1
                add_text(axis, box[0], y, f"{view.classes[label]} {score:.2f}", size=8)
        numbers[f"nms.{when}"] = f"{count}"
    save_figure(figure, "nms")
    return numbers | {"nms.shown": f"{SHOWN}", "nms.objects": f"{len(view.targets[0]['boxes'])}"}


def is_near(box, other):
    """Whether two boxes begin at nearly the same place, so that their names would overlap."""
    return abs(box[0] - other[0]) < 8 and abs(box[1] - other[1]) < 8


def draw_strip(models):
    """Draw the example image's detections over the training -> numbers.

    models: iteration -> RetinaNet.
    """
    iterations = sorted(models)
    figure, axes = new_figure(2, len(iterations) // 2, height=4.6)
    numbers = {}
    for axis, iteration in zip(axes.flat, iterations):
        view, found = detect_example(models[iteration], 0.5)
        show_image(axis, dim(view.image, 0.75), f"after {iteration} iterations")
        for box in view.targets[0]["boxes"]:
            add_box(axis, box, OBJECT_COLOUR, width=1)
        for box, label in zip(found["boxes"], found["labels"]):
            add_box(axis, box, LEVELS[label], width=1.4, fill="none")
        best = max(found["scores"].tolist(), default=0)
        axis.set_xlabel(f"{len(found['scores'])} score over {SHOWN}", fontsize=9)
        numbers[f"strip.{iteration}"] = f"{len(found['scores'])}"
        numbers[f"strip.{iteration}.best"] = f"{best:.2f}"
    save_figure(figure, "strip")
    return numbers


def draw_curve(matches, name, point):
    """Draw precision against recall of a class, with AP as the area below -> numbers.

    matches: its Matches. point: its OperatingPoint with the best F1.
    """
    hits = matches.hits[0][matches.counts[0]]
    found = np.cumsum(hits)
    recall = found / matches.objects.sum()
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    area = average_precision(hits, matches.objects.sum())
    figure, axes = new_figure(height=3.6)
    axes.fill_between(recall, envelope, step="pre", color=LEVELS[1], alpha=0.35,
                      label=f"AP50 {area:.3f}: the area")  # fmt: skip
    axes.plot(recall, precision, color=LEVELS[6], linewidth=1.2, label="precision so far")
    axes.plot(
        point.recall, point.precision, "o", color=LEVELS[4], markersize=8,
        label=f"best F1, {point.f1:.2f}, at score {point.threshold:.2f}",
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
        "curve.precision": f"{point.precision:.2f}",
        "curve.recall": f"{point.recall:.2f}",
        "curve.f1": f"{point.f1:.2f}",
        "curve.threshold": f"{point.threshold:.2f}",
        "curve.objects": f"{matches.objects.sum()}",
    }


def receptive_field(model, level):
    """The width in pixels of what a cell in the middle of a level can see of the image: the pixels
    by which the gradient of its values is not zero."""
    images = torch.zeros(1, 3, 1024, 1024).requires_grad_()
    feature_map = model.feature_maps(images)[level]
    middle = feature_map.shape[-1] // 2
    feature_map[0, :, middle, middle].sum().backward()
    seen = images.grad.abs().amax(dim=(0, 1, 2)).nonzero()[:, 0]
    return int(seen.max() - seen.min()) + 1
