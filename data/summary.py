"""What a run reports about its data at the start: counts, sizes, and what priors reach."""

import textwrap

import numpy as np
import torch

from data.text import counted, some
from data.transforms import Stretch
from layers.boxes import area, paired_iou

# A prior reaches an object if their IoU is at least this, which is what matching asks for.
REACHED = 0.5
# The sizes of objects, in pixels as the network sees them, that are reported separately.
SIDE_RANGES = ((0, 16), (16, 32), (32, 96), (96, np.inf))


def summary(dataset, levels):
    """Yield lines about one split: its images, classes and objects, which the priors reach, and
    notes."""
    records = dataset.records
    classes = dataset.classes
    real = ~records.ignore
    counts = np.bincount(records.labels[real], minlength=len(classes))
    per_image = np.diff(np.concatenate([[0], np.cumsum(real)])[records.offsets])
    ignored, empty = (~real).sum(), (per_image == 0).sum()
    yield (
        f"{counted(len(records), 'image')}, {counted(counts.sum(), 'object')} of "
        f"{counted(len(classes), 'class')}"
        + (f", {ignored} to ignore" if ignored else "")
        + f"; at most {per_image.max(initial=0)} in an image"
        + (f", none in {empty}" if empty else "")
    )
    shown = "  ".join(f"{name} {count}" for name, count in zip(classes, counts) if count)
    yield textwrap.fill(shown, width=100)
    absent = [name for name, count in zip(classes, counts) if not count]
    if absent and real.any():
        yield f"no objects of: {some(absent)}"
    if real.any():
        boxes = resized_boxes(dataset)[real]
        yield from reach_lines(boxes, levels, not isinstance(dataset.transform, Stretch))
    ids = sorted(number for number in records.category_ids if isinstance(number, int))
    if ids and ids[-1] - ids[0] >= len(ids):
        yield (
            f"the dataset's own class numbers, {ids[0]} to {ids[-1]}, have gaps; "
            "they are kept in what eval writes"
        )
    yield from records.notes


def box_sides(boxes):
    """The sides of squares with the same areas as the boxes: [N, 4] -> [N]."""
    return np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def reach_lines(boxes, levels, resizable=True):
    """Yield lines on the share of the boxes, of all and by size, that some prior reaches, with
    advice if it is low.

    resizable: whether the user can have the images made larger, unlike those of SSD.
    """
    reached = best_overlap(boxes, levels) >= REACHED
    sides = box_sides(boxes)
    low, middle, high = np.percentile(sides, (5, 50, 95))
    parts = []
    for smallest, largest in SIDE_RANGES:
        chosen = (sides >= smallest) & (sides < largest)
        if chosen.any():
            size = f"{smallest} to {largest} px" if largest < np.inf else f"over {smallest} px"
            parts.append(f"{size}: {reached[chosen].mean():.0%} of {chosen.sum()}")
    yield (
        f"objects are {low:.0f} to {high:.0f} px large as the network sees them, "
        f"half of them over {middle:.0f}"
    )
    yield (
        f"priors reach {reached.mean():.1%} of them (best IoU >= {REACHED}): " + ", ".join(parts)
    )
    if reached.mean() < 0.85:
        missed = boxes[~reached]
        width, height = np.median(missed[:, 2:] - missed[:, :2], axis=0)
        larger = "a larger --resize, or " if resizable else ""
        smallest_area = area(torch.tensor(levels[0].base_priors)).min()
        if resizable and levels[0].stride == 8 and width * height < smallest_area:
            larger = "a larger --resize, --finest-stride 4, or "
        yield (
            f"advice: what is missed is typically {width:.0f} x {height:.0f} px; {larger}other "
            "priors (--fit-priors) may reach it"
        )


def resized_boxes(dataset):
    """All boxes of a dataset as the network sees them, [K, 4] in pixels of the resized images."""
    records = dataset.records
    sizes = [dataset.transform.output_size(*size) for size in records.sizes.tolist()]
    scale = np.array(sizes).reshape(-1, 2) / records.sizes
    scale = np.repeat(scale, np.diff(records.offsets), axis=0)[:, [1, 0, 1, 0]]
    return records.boxes * scale


def best_overlap(boxes, levels):
    """The best IoU of each box with any prior of the levels: [N, 4] -> [N].

    Among the priors of one shape, the one whose centre is nearest overlaps a box most, so no other
    needs to be compared. Priors are taken to cover the plane, not only the image.
    """
    boxes = torch.as_tensor(boxes, dtype=torch.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    best = torch.zeros(len(boxes), dtype=torch.float64)
    for level in levels:
        for prior in torch.tensor(level.base_priors, dtype=torch.float64):
            prior_centre = (prior[:2] + prior[2:]) / 2
            steps = ((centre - prior_centre) / level.stride).round() * level.stride
            nearest = prior + torch.cat([steps, steps], dim=1)
            best = torch.maximum(best, paired_iou(boxes, nearest))
    return best.numpy()
