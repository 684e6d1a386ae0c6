"""Pictures of priors: where they lie, how well they fit the data, and what they are matched to."""

import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, Rectangle

import retinanet
import ssd
from data.summary import REACHED, best_overlap, box_sides, resized_boxes
from layers.boxes import encode, xyxy_to_cxcywh
from layers.matching import IGNORED
from layers.priors import grid_size, level_counts
from lesson.example import EXAMPLE, NAMES, look, val_dataset
from lesson.style import (
    BACKGROUND_COLOUR,
    DARK,
    IGNORED_COLOUR,
    LEVELS,
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
from utils.build import build_levels
from utils.fit_priors import fit_priors

# The (height, width) of the images in the papers.
PAPER_SIZES = dict(SSD300=(300, 300), RetinaNet=(800, 1344))


def draw_cells():
    """Draw the priors of one cell on every feature map of both papers' detectors -> numbers."""
    figure, axes = new_figure(2, 6, height=5.4)
    numbers = {}
    for row, (name, levels) in enumerate(
        (("SSD300", ssd.prior_levels(300)), ("RetinaNet", retinanet.prior_levels()))
    ):
        size = PAPER_SIZES[name]
        counts = level_counts(size, levels)
        for axis, level, colour, count in zip(axes[row], levels, LEVELS, counts):
            draw_cell(axis, level, grid_size(size, level), colour, count)
        for axis in axes[row][len(levels) :]:
            axis.axis("off")
        axes[row][0].set_ylabel(f"{name}\n{sum(counts):,} priors")
        key = name.lower()
        numbers[f"cells.{key}.priors"] = f"{sum(counts):,}"
        numbers[f"cells.{key}.levels"] = str(len(levels))
        numbers[f"cells.{key}.finest"] = f"{counts[0]:,}"
        rows, columns = grid_size(size, levels[0])
        numbers[f"cells.{key}.cells"] = f"{rows} x {columns}"
    save_figure(figure, "cells")
    return numbers


def draw_cell(axes, level, grid, colour, count):
    """Draw the first cell of a level and its priors, as large as its largest prior allows."""
    middle = level.stride / 2
    priors = np.array(level.base_priors)
    reach = 1.1 * (priors[:, 2:] - priors[:, :2]).max() / 2
    limits = (middle - reach, middle + reach)
    axes.set(xlim=limits, ylim=limits[::-1], xticks=[], yticks=[], aspect="equal")
    axes.set_facecolor(DARK)
    axes.add_patch(Rectangle((0, 0), level.stride, level.stride, facecolor="#777777"))
    for left, top, right, bottom in priors:
        axes.add_patch(
            Rectangle(
                (left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.3
            )
        )
    sides = np.sqrt((priors[:, 2:] - priors[:, :2]).prod(axis=1))
    axes.set_title(f"{grid[0]} x {grid[1]}\nstride {level.stride}")
    axes.set_xlabel(f"{sides.min():.0f} to {sides.max():.0f}\n{len(priors)} shapes\n= {count:,}")


def draw_delta():
    """Draw the example object, its best prior and the four numbers between them -> numbers."""
    figure, axes = new_figure(1, 2, height=4.7)
    numbers = {}
    for axis, name in zip(axes, ("ssd", "retinanet")):
        view = look(name)
        prior_row = view.best_prior(EXAMPLE)
        box = view.targets[0]["boxes"][EXAMPLE]
        prior = view.priors[prior_row]
        deltas = encode(box, prior).tolist()
        overlap = view.overlaps[EXAMPLE, prior_row].item()
        draw_arrows(axis, view, box, prior, view.level_of(prior_row))
        text = ", ".join(f"{value:+.2f}" for value in deltas)
        axis.set_title(f"{NAMES[name]}: IoU {overlap:.2f}\ndeltas ({text})")
        numbers |= {
            f"{name}.box": corners(box),
            f"{name}.prior": corners(prior),
            f"{name}.prior_row": f"{prior_row:,}",
            f"{name}.iou": f"{overlap:.2f}",
            f"{name}.deltas": text,
        }
    save_figure(figure, "delta")
    return numbers


def corners(box):
    """The sides of a box to a hundredth of a pixel, so that a reader computes the same deltas."""
    return ", ".join(f"{side:.2f}".removesuffix(".00") for side in box.tolist())


def draw_arrows(axes, view, box, prior, level):
    """Draw a prior and a box on the image, with arrows from centre to centre and from corner to
    corner."""
    show_image(axes, view.image)
    add_box(axes, prior, LEVELS[level])
    add_box(axes, box, OBJECT_COLOUR)
    (x, y, *_), (prior_x, prior_y, *_) = xyxy_to_cxcywh(torch.stack([box, prior])).tolist()
    ends = [((prior_x, prior_y), (x, y)), (prior[2:].tolist(), box[2:].tolist())]
    for start, end in ends:
        arrow = FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, color="black", linewidth=1.5
        )
        axes.add_patch(arrow)
    margin = 0.9 * float((box[2:] - box[:2]).max())
    axes.set(xlim=(x - margin, x + margin), ylim=(y + margin, y - margin))
    names = (box, "white: the object"), (prior, "coloured: its prior")
    upper, lower = sorted(names, key=lambda pair: pair[0][1].item())
    # Each next to its own box, where the other box is not in between.
    add_text(axes, upper[0][0].item(), upper[0][1].item() - margin * 0.07, upper[1])
    add_text(axes, lower[0][0].item(), lower[0][3].item() + margin * 0.16, lower[1])


def draw_fit():
    """Draw the best IoU of every validation object by its size, before and after the priors are
    fitted to the data -> numbers. Before, they are the paper's, which are made for photos."""
    dataset = val_dataset("retinanet")
    recipe = look("retinanet").recipe
    recipe |= dict(finest_stride=8, prior_sizes=(), prior_ratios=())
    boxes = resized_boxes(dataset)
    changes, before, after = fit_priors(boxes, recipe)
    sides = box_sides(boxes)
    figure, axes = new_figure(1, 2, height=3.9, sharey=True)
    for axis, priors, share, title in (
        (axes[0], recipe, before, "priors of the paper"),
        (axes[1], recipe | changes, after, "priors fitted to the data"),
    ):
        best = best_overlap(boxes, build_levels(priors))
        reached = best >= REACHED
        axis.scatter(sides[reached], best[reached], s=12, color=BACKGROUND_COLOUR, label="reached")
        axis.scatter(
            sides[~reached], best[~reached], s=20, color=POSITIVE_COLOUR, marker="x",
            linewidth=1.2, label="not reached",
        )  # fmt: skip
        axis.axhline(REACHED, color=IGNORED_COLOUR, linewidth=1)
        axis.set(title=f"{title}:\n{share:.1%} reached", xlabel="side of the object, pixels")
    axes[0].set(ylabel="best IoU with any prior", ylim=(0, 1))
    axes[1].legend(loc="lower right")
    save_figure(figure, "fit")
    return {"fit.before": f"{before:.1%}", "fit.after": f"{after:.1%}"}


def draw_matching():
    """Draw matched priors in the colours of their levels, and the centres of ignored ones in grey
    -> numbers."""
    figure, axes = new_figure(1, 2, height=4.6)
    numbers = {}
    for axis, name in zip(axes, ("ssd", "retinanet")):
        view = look(name)
        positive = view.labels >= 0
        ignored = view.labels == IGNORED
        show_image(axis, dim(view.image, 0.6))
        centres = xyxy_to_cxcywh(view.priors)[:, :2]
        edge = dict(markeredgecolor="black", markeredgewidth=0.5)
        axis.plot(*centres[ignored].T, "s", color=IGNORED_COLOUR, markersize=4, **edge)
        for row in positive.nonzero()[:, 0].tolist():
            add_box(axis, view.priors[row], LEVELS[view.level_of(row)], width=0.8, fill="none")
        for box in view.targets[0]["boxes"]:
            add_box(axis, box, OBJECT_COLOUR, width=1.4)
        # Several shapes of a cell may match: the area of its dot is their number.
        places, counts = centres[positive].unique(dim=0, return_counts=True)
        for place, count in zip(places, counts):
            rows = positive & (centres == place).all(dim=1)
            colour = LEVELS[view.level_of(int(rows.nonzero()[0]))]
            axis.plot(*place, "o", color=colour, markersize=4.5 * float(count) ** 0.5, **edge)
        height, width = view.image.shape[:2]
        axis.set(xlim=(0, width), ylim=(height, 0))
        matched = int(positive.sum())
        axis.set_title(f"{NAMES[name]}: {matched} positive,\n{int(ignored.sum())} ignored (grey)")
        numbers |= matching_numbers(name, view, positive, ignored)
        numbers[f"{name}.positive_cells"] = f"{len(places)}"
    add_colours(figure, ["finest level", "the next", "the third"], LEVELS)
    save_figure(figure, "matching")
    return numbers


def matching_numbers(name, view, positive, ignored):
    """How many priors are matched, ignored and background, and how many the example object has."""
    box = view.targets[0]["boxes"][EXAMPLE]
    of_example = (view.boxes == box).all(dim=1) & positive
    forced = view.overlaps.max(dim=1).values < view.recipe.positive_iou
    background = len(view.labels) - int(positive.sum()) - int(ignored.sum())
    return {
        f"{name}.total": f"{len(view.labels):,}",
        f"{name}.positives": f"{int(positive.sum())}",
        f"{name}.ignored": f"{int(ignored.sum())}",
        f"{name}.background": f"{background:,}",
        f"{name}.example_priors": f"{int(of_example.sum())}",
        f"{name}.forced_objects": f"{int(forced.sum())}",
        f"{name}.objects": f"{len(view.overlaps)}",
        f"{name}.per_object": f"{background / int(positive.sum()):.0f}",
    }
