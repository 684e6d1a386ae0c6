"""Why most boxes of a dataset cannot be: what was written where something else was expected."""

import numpy as np

from data.errors import UserError
from data.images import is_exif_rotated

FEW = 5  # boxes, of which nothing is concluded
IMPOSSIBLE = 0.5  # the share of boxes from which on the reader has misunderstood them


def refuse_impossible(boxes, sizes, paths):
    """An error with its likely cause where most boxes lie outside of their images.

    boxes [K, 4] as they were read, in pixels; sizes [K, 2], (height, width) of their images.
    """
    if len(boxes) < FEW:
        return
    fits = inside(boxes, sizes)
    if fits.mean() > IMPOSSIBLE:
        return
    example = np.flatnonzero(~fits)[0]
    box = ", ".join(f"{side:g}" for side in boxes[example])
    height, width = sizes[example]
    raise UserError(
        f"{(~fits).sum()} of {len(boxes)} boxes are impossible, as in {paths[example]}: left, top, "
        f"right, bottom would be {box} in an image of {width} x {height} pixels. "
        + likely_cause(boxes, sizes, paths[example])
    )


def inside(boxes, sizes):
    """Which boxes have at least half of their area, and a pixel both ways, within the image."""
    limits = sizes[:, [1, 0, 1, 0]]
    with np.errstate(invalid="ignore", over="ignore"):
        cut = np.clip(boxes, 0, limits)
        width, height = (cut[:, 2:] - cut[:, :2]).T
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        return (width >= 1) & (height >= 1) & (width * height >= 0.5 * area)


def likely_cause(boxes, sizes, path):
    """What was probably written, and what to change."""
    with np.errstate(invalid="ignore", over="ignore"):
        if np.nanmax(np.abs(boxes)) <= 2:
            return (
                "They look normalised, from 0 to 1: multiply them by the image's width and height"
            )
        if np.median(np.abs(boxes) / sizes[:, [1, 0, 1, 0]]) > 3:
            return "They look like pixels: divide them by the image's width and height"
        as_sizes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        if inside(as_sizes, sizes).mean() > 1 - IMPOSSIBLE / 2:
            return "They look like left, top, width, height, where corners are expected"
        if inside(boxes[:, [1, 0, 3, 2]], sizes).mean() > 1 - IMPOSSIBLE / 2:
            return "x and y look swapped: write x before y"
        if inside(boxes, sizes[:, ::-1]).mean() > 1 - IMPOSSIBLE / 2:
            rotated = " (this one is EXIF-rotated)" if is_exif_rotated(path) else ""
            return (
                f"They fit the photo before it is rotated{rotated}: rotate the files, or the boxes"
            )
    return "Look at one of them beside its image: python -m tools.check --sheet FILE"
