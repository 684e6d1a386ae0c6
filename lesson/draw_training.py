"""Pictures of a run: what the network is shown, what its errors cost, what it detects."""

import numpy as np
import torch

from data.transforms import crop, crop_and_resize, distort, expand, select
from layers.losses import cost_if_absent
from layers.matching import BACKGROUND, IGNORED
from lesson.example import IMAGE, NAMES, look, predictions, val_dataset
from lesson.style import (
    BACKGROUND_COLOUR,
    IGNORED_COLOUR,
    LEVELS,
    LINES,
    OBJECT_COLOUR,
    POSITIVE_COLOUR,
    add_box,
    add_colours,
    dim,
    new_figure,
    save_figure,
    show_image,
)

SEED = 2  # With it, the four windows are of different kinds.
GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)
EASY = 0.1  # the probability that a network, while it learns, gives to a class that is not there
OVERLAPPING = 0.1  # an IoU with an object, above which a prior is more than beside it


def draw_augmentation(windows=4):
    """Draw SSD's random windows on an image, and what the network then sees -> numbers."""
    dataset = val_dataset("ssd")
    image, target = dataset.read(IMAGE)
    rng = np.random.default_rng(SEED)
    height, width = image.shape[:2]
    figure, axes = new_figure(2, windows, height=4.9)
    numbers = {}
    for i in range(windows):
        window = expand((height, width), rng)
        window, inside, asked = crop(window, target["boxes"], target["ignore"], rng)
        mirrored = rng.random() < 0.5
        seen, kept = crop_and_resize(
            window, image, select(target, inside), (300, 300), (123, 117, 104), mirrored
        )
        show_image(axes[0, i], image)
        add_box(axes[0, i], window, width=2)
        left, top, right, bottom = window
        axes[0, i].set(
            xlim=(min(left, 0) - 8, max(right, width) + 8),
            ylim=(max(bottom, height) + 8, min(top, 0) - 8),
            title="no crop" if asked is None else f"IoU {asked:g} or more",
        )
        show_image(axes[1, i], distort(seen, rng))
        for box in kept["boxes"]:
            add_box(axes[1, i], box, OBJECT_COLOUR, width=1.4)
        count = len(kept["boxes"])
        objects = f"{count} of {len(target['boxes'])} objects"
        axes[1, i].set_xlabel(f"{objects}\nmirrored" if mirrored else objects)
        numbers[f"augmentation.{i}"] = f"{count}"
    axes[0, 0].set_ylabel("the window")
    axes[1, 0].set_ylabel("what is seen")
    save_figure(figure, "augmentation")
    return numbers


def draw_imbalance():
    """Draw how many priors are background, and what they cost by gamma -> numbers."""
    figure, (counts, curves) = new_figure(1, 2, height=4.4)
    numbers = {}
    names = ("ssd", "retinanet")
    kinds = ("positive", "ignored", "background")
    colours = (POSITIVE_COLOUR, IGNORED_COLOUR, BACKGROUND_COLOUR)
    for place, name in enumerate(names):
        labels = look(name).labels
        masks = (labels >= 0, labels == IGNORED, labels == BACKGROUND)
        for shift, (is_kind, kind, colour) in enumerate(zip(masks, kinds, colours)):
            count = int(is_kind.sum())
            x = place + (shift - 1) * 0.28
            # A bar of no priors would have no place on the logarithmic scale.
            height = max(count, 0.8)
            counts.bar(x, height, 0.26, color=colour, label=kind if place == 0 else None)
            counts.text(x, height * 1.15, f"{count:,}", ha="center")
    counts.set(yscale="log", xticks=range(2), xticklabels=map(NAMES.get, names), ylim=(0.8, 1e6))
    counts.set_title("priors of the example image")
    counts.legend(loc="upper center", ncols=2, frameon=False)

    p = torch.linspace(0.001, 0.999, 400)
    logits = torch.log(p / (1 - p))
    for gamma, colour in zip(GAMMAS, LINES):
        curves.plot(p, cost_if_absent(logits, gamma), color=colour, label=f"gamma {gamma:g}")
        easy = cost_if_absent(torch.tensor(np.log(EASY / (1 - EASY))), gamma).item()
        numbers[f"imbalance.gamma{gamma:g}"] = f"{easy:.5f}"
    curves.axvspan(0, 0.4, color="#eeeeee")
    curves.text(0.2, 0.9, "easy\nbackground", ha="center")
    curves.set(xlabel="p of a class that is not there", ylim=(0, 4), xlim=(0, 1))
    curves.set_title("cost: -ln(1 - p) p^gamma")
    curves.legend(loc="upper left", frameon=False)
    save_figure(figure, "imbalance")
    # As they are in the text, so that a reader who divides them gets the same.
    times = float(numbers["imbalance.gamma0"]) / float(numbers["imbalance.gamma2"])
    return numbers | {"imbalance.times": f"{times:.0f}"}


def draw_cumulative(models):
    """Draw what share of the background's loss its easy part has, by gamma -> numbers.

    models: iteration -> RetinaNet; the first and the last are drawn.
    """
    figure, axes = new_figure(1, 2, height=3.9, sharey=True)
    numbers = {}
    view = look("retinanet")
    ends = dict(start=min(models), end=max(models))
    for axis, (when, iteration) in zip(axes, ends.items()):
        logits = predictions(view, models[iteration]).logits[view.labels == BACKGROUND].flatten()
        for gamma, colour in zip((0.0, 1.0, 2.0, 5.0), LINES[:1] + LINES[2:]):
            costs = cost_if_absent(logits, gamma).sort().values.double()
            share = (costs.cumsum(0) / costs.sum()).numpy()
            axis.plot(np.linspace(0, 1, len(share)), share, color=colour, label=f"gamma {gamma:g}")
            hardest = 1 - share[int(len(share) * 0.99) - 1]
            numbers[f"cumulative.{when}.gamma{gamma:g}"] = f"{hardest:.0%}"
        axis.set(title=f"after {iteration} iterations", xlim=(0, 1.02), ylim=(-0.02, 1))
        axis.set_xlabel("share of the logits, easiest first")
    axes[0].set_ylabel("share of their loss")
    axes[1].legend(loc="upper left")
    save_figure(figure, "cumulative")
    return numbers


def draw_mining(models):
    """Draw the negatives that SSD's mining keeps; models: iteration -> SSD300 -> numbers."""
    iterations = sorted(models)
    moments = dict(start=iterations[0], half=iterations[len(iterations) // 2], end=iterations[-1])
    figure, axes = new_figure(1, len(moments), height=4.5)
    numbers = {}
    view = look("ssd")
    objects = view.targets[0]["boxes"]
    for axis, (moment, iteration) in zip(axes, moments.items()):
        prediction = predictions(view, models[iteration])
        is_background = view.labels == BACKGROUND
        kept = prediction.counts & is_background
        show_image(axis, dim(view.image, 0.6), f"after {iteration}\niterations")
        for row in kept.nonzero()[:, 0].tolist():
            colour = LEVELS[view.level_of(row)]
            add_box(axis, view.priors[row], colour, width=0.8, fill="none")
        for box in objects:
            add_box(axis, box, OBJECT_COLOUR, width=1.6)
        height, width = view.image.shape[:2]
        axis.set(xlim=(0, width), ylim=(height, 0))
        largest = view.overlaps[:, kept].max(dim=0).values
        overlapping = f"{(largest > OVERLAPPING).float().mean():.0%}"
        costs = prediction.class_costs
        key = f"mining.{moment}"
        numbers |= {
            f"{key}.kept": f"{int(kept.sum())}",
            f"{key}.overlapping": overlapping,
            f"{key}.touching": f"{(largest > 0).float().mean():.0%}",
            f"{key}.share": f"{costs[kept].sum() / costs[is_background].sum():.0%}",
        }
        axis.set_xlabel(f"IoU over {OVERLAPPING}:\n{overlapping} of {int(kept.sum())}")
    add_colours(figure, ["finest level", "the next", "the third", "the fourth"], LEVELS)
    save_figure(figure, "mining")
    return numbers
