"""Pictures of the imbalance between objects and background, and of the two answers to it."""

import numpy as np
import torch

from layers.losses import cost_if_absent
from lesson.example import NAMES, look, predictions
from lesson.style import (
    IGNORED,
    INK,
    LEVELS,
    OBJECT,
    add_box,
    dim,
    new_figure,
    save_figure,
    show_image,
)

GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)
EASY = 0.1  # the probability that an untrained or half trained network gives to what is not there


def draw_imbalance():
    """How many priors are background, and what an easy one costs by gamma -> numbers."""
    figure, (counts, curves) = new_figure(1, 2, height=3.5)
    numbers = {}
    names = ("ssd", "retinanet")
    for place, name in enumerate(names):
        labels = look(name).labels
        parts = [int((labels >= 0).sum()), int((labels == -2).sum()), int((labels == -1).sum())]
        for shift, (part, colour) in enumerate(zip(parts, (LEVELS[4], IGNORED, LEVELS[6]))):
            x = place + (shift - 1) * 0.27
            counts.bar(x, max(part, 0.8), 0.25, color=colour)
            counts.text(x, max(part, 0.8) * 1.15, f"{part:,}", ha="center", fontsize=9)
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
    none, two = (float(numbers[f"imbalance.gamma{gamma}"]) for gamma in (0, 2))
    return numbers | {"imbalance.times": f"{none / two:.0f}"}


def draw_cumulative(models):
    """What share of the background's loss the easy part of it has, by gamma, at the start and the
    end of the training; models: iteration -> RetinaNet -> numbers."""
    figure, axes = new_figure(1, 2, height=3.3, sharey=True)
    numbers, view = {}, look("retinanet")
    first, last = min(models), max(models)
    for axis, iteration in zip(axes, (first, last)):
        logits = predictions(view, models[iteration]).logits[view.labels == -1].flatten()
        for gamma, colour in zip(
            (0.0, 1.0, 2.0, 5.0), (LEVELS[1], LEVELS[2], LEVELS[4], LEVELS[6])
        ):
            costs = cost_if_absent(logits, gamma).sort().values.double()
            share = (costs.cumsum(0) / costs.sum()).numpy()
            axis.plot(np.linspace(0, 1, len(share)), share, color=colour, label=f"gamma {gamma:g}")
            hardest = 1 - share[int(len(share) * 0.99) - 1]
            when = "start" if iteration == first else "end"
            numbers[f"cumulative.{when}.gamma{gamma:g}"] = f"{hardest:.0%}"
        axis.set_title(f"iteration {iteration}", fontsize=10)
        axis.set_xlabel("share of the background's logits, easiest first")
    axes[0].set_ylabel("share of their loss")
    axes[0].legend(fontsize=8)
    save_figure(figure, "cumulative")
    return numbers


def draw_mining(models):
    """The negatives that SSD's mining keeps; models: iteration -> SSD300 -> numbers."""
    iterations = sorted(models)
    figure, axes = new_figure(1, len(iterations), height=3.7)
    numbers, view = {}, look("ssd")
    objects = view.targets[0]["boxes"]
    for axis, iteration in zip(axes, iterations):
        prediction = predictions(view, models[iteration])
        kept = prediction.counts & (view.labels == -1)
        show_image(axis, dim(view.image, 0.7), f"after {iteration} iterations")
        for row in kept.nonzero()[:, 0].tolist():
            colour = LEVELS[view.level_of(row)]
            add_box(axis, view.priors[row], colour, width=0.8, fill="none")
        for box in objects:
            add_box(axis, box, OBJECT, width=1.4)
        height, width = view.image.shape[:2]
        axis.set(xlim=(0, width), ylim=(height, 0))
        touching = (view.overlaps[:, kept].max(dim=0).values > 0.1).float().mean().item()
        key = f"mining.{iteration}"
        numbers[f"{key}.kept"] = f"{int(kept.sum())}"
        numbers[f"{key}.touching"] = f"{touching:.0%}"
        costs = prediction.class_costs[view.labels == -1]
        share = prediction.class_costs[kept].sum() / costs.sum()
        numbers[f"{key}.share"] = f"{share:.0%}"
        axis.set_xlabel(
            f"{int(kept.sum())} kept, {touching:.0%} of them\ntouch an object", fontsize=9
        )
    save_figure(figure, "mining")
    return numbers
