"""Priors that fit the data: sizes and ratios from a clustering of the objects' shapes."""

import numpy as np

from data.summary import REACHED, best_overlap
from retinanet import SCALES
from utils.build import SSD_SIDES, build_levels

MAX_UPDATES = 50  # of the centres of k-means
MAX_BOXES = 20_000  # that the priors are fitted to
MIN_GAIN = 0.003  # of the share of boxes that priors reach, to be worth a change


def fit_priors(boxes, recipe, keep_number=False):
    """Sizes and ratios for a recipe's priors, from boxes [N, 4] as the network sees them.

    keep_number: keep the number of priors in a cell, which trained heads were made for. Returns the
    changes of the recipe, none where no change reaches more objects, and the shares of the boxes
    that its priors and the changed ones reach.
    """
    boxes = boxes[:: len(boxes) // MAX_BOXES + 1]
    before = after = reach(boxes, recipe)
    best = {}
    number = len(build_levels(recipe)[0].base_priors) if keep_number else None
    # Priors that a recipe lists one by one would hide every change.
    unlisted = dict(base_priors=())
    for changes in proposals(boxes[:, 2:] - boxes[:, :2], recipe | unlisted, number):
        share = reach(boxes, recipe | unlisted | changes)
        # More shapes cost more than a few objects are worth.
        if share > after + MIN_GAIN:
            best, after = changes, share
    if best and recipe.base_priors:
        best |= unlisted
    return best, before, after


def proposal_line(changes, before, after):
    """What fit_priors found, as text to paste into a recipe."""
    if not changes:
        return f"priors: no other sizes or ratios reach more than the {before:.1%} of now"
    text = ", ".join(f"{name}={value}" for name, value in changes.items() if value)
    return f"priors: {text} reach {after:.1%} of the objects, instead of {before:.1%}"


def reach(boxes, recipe):
    """The share of the boxes that overlap some prior of the recipe enough to be matched."""
    return float((best_overlap(boxes, build_levels(recipe)) >= REACHED).mean())


def proposals(shapes, recipe, number=None):
    """Changes of a recipe that may fit shapes [N, 2], widths and heights, better; fewer ratios
    first. number: how many priors RetinaNet must have in a cell, if that is given."""
    levels = len(build_levels(recipe))
    sizes = [np.sort(np.sqrt(cluster_shapes(shapes, levels).prod(axis=1)))]
    # Coarse levels have few cells: large priors suit them better than many of the typical size.
    smallest = np.percentile(np.sqrt(shapes.prod(axis=1)), 5)
    sizes += [start * 2.0 ** np.arange(levels) for start in smallest * np.geomspace(0.5, 2, 9)]
    if recipe.model in SSD_SIDES:
        # The last size only makes the last level's larger square: see ssd.prior_shapes.
        yield from (dict(prior_sizes=rounded([*size, size[-1] * 1.2])) for size in sizes)
        return
    scales = recipe.prior_scales or SCALES
    middle = np.median(scales)
    sizes = [rounded(size / middle) for size in sizes]
    # Of one area, so that only width / height tells them apart.
    roots = np.sqrt(shapes[:, :1] / shapes[:, 1:])
    for count in (1, 2, 3):
        if number not in (None, count * len(scales)):
            continue
        centres = cluster_shapes(np.hstack([roots, 1 / roots]), count)
        ratios = rounded(np.sort(centres[:, 0] / centres[:, 1])[::-1])
        yield dict(prior_ratios=ratios)
        yield from (dict(prior_sizes=size, prior_ratios=ratios) for size in sizes)


def rounded(values):
    """Three digits are enough for a recipe."""
    return tuple(float(f"{value:.3g}") for value in values)


def cluster_shapes(shapes, count):
    """k-means of shapes [N, 2], widths and heights, by their IoU -> centres [count, 2].

    Shapes are compared as boxes with one centre (YOLO9000, Redmon & Farhadi, 2017, Sec. 2). It
    begins with shapes at equal steps of the areas' order, so that it is the same every time.
    """
    order = np.argsort(shapes.prod(axis=1), kind="stable")
    steps = np.linspace(0, len(shapes) - 1, 2 * count + 1)[1::2].round().astype(int)
    centres = shapes[order[steps]].astype(float)
    for _ in range(MAX_UPDATES):
        nearest = shape_iou(shapes, centres).argmax(axis=1)
        moved = centres.copy()
        for i in range(count):
            if (nearest == i).any():
                moved[i] = np.median(shapes[nearest == i], axis=0)
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres


def shape_iou(shapes, others):
    """IoU of shapes [N, 2] and [M, 2], laid centre on centre -> [N, M]."""
    shared = np.minimum(shapes[:, None], others).prod(axis=2)
    return shared / (shapes.prod(axis=1)[:, None] + others.prod(axis=1) - shared)
