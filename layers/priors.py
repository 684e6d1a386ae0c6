"""Priors: the boxes that a detector starts from and moves onto objects.

SSD's paper calls them default boxes, RetinaNet's and most others call them anchors. Priors and
predictions have the same order: level, row, column, shape. apply_heads ensures it.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch

from layers.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh


class Level(NamedTuple):
    """One feature map: its stride in pixels, and the priors of its first cell, xyxy in pixels.

    fitted_stride and clamp are for checkpoints of other programs. With fitted_stride, neighbouring
    cells are the image's side // the number of cells apart. clamp="sizes" limits a prior's width
    and height to those of the image; "centres" limits its centre too.
    """

    stride: int
    base_priors: tuple
    fitted_stride: bool = False
    clamp: str = ""


def make_level(stride, shapes):
    """A level with priors of these (width, height) in pixels, centred on their cell."""
    centre = stride / 2
    base_priors = [
        (centre - width / 2, centre - height / 2, centre + width / 2, centre + height / 2)
        for width, height in shapes
    ]
    return Level(stride, tuple(base_priors))


def grid_size(image_size, level):
    """How many cells (rows, columns) a level's feature map has on an image of (height, width)."""
    # Rounded up, as by a padded 3x3 convolution of stride 2. -(-side // stride) would be shorter,
    # but export.py traces this, and ONNX rounds negative quotients towards zero.
    height, width = (side + level.stride - 1 for side in image_size)
    return height // level.stride, width // level.stride


def grid_priors(image_size, level, device=None):
    """The priors of a whole feature map (SSD, Fig. 1): (height, width) -> [H * W * S, 4].

    They are ordered by row, column, shape: the order in which heads predict, see per_prior.
    """
    rows, columns = grid_size(image_size, level)
    steps = (level.stride, level.stride)
    if level.fitted_stride:
        steps = (image_size[0] // rows, image_size[1] // columns)
    base_priors = torch.tensor(level.base_priors, device=device)  # [S, 4]
    priors = lay_priors(base_priors, (rows, columns), steps)
    return clamp_priors(priors, image_size, level.clamp) if level.clamp else priors


def lay_priors(base_priors, grid, steps):
    """The priors of all cells of a grid, from those of the first: [S, 4] -> [H * W * S, 4].

    grid is (rows, columns); steps are the distances between neighbouring cells in pixels, (y, x).
    The order is row, column, shape.
    """
    rows, columns = (torch.arange(count, device=base_priors.device) for count in grid)
    y, x = torch.meshgrid(rows * steps[0], columns * steps[1], indexing="ij")
    shifts = torch.stack([x, y, x, y], dim=-1)  # [H, W, 4]
    return (shifts[:, :, None] + base_priors).flatten(0, 2)


def clamp_priors(priors, image_size, clamp):
    """Priors no larger than the image and, if clamp is "centres", with their centres on it."""
    height, width = image_size
    centre, size = xyxy_to_cxcywh(priors).split(2, dim=-1)
    limit = priors.new_tensor([width, height])
    if clamp == "centres":
        centre = torch.minimum(centre, limit)
    return cxcywh_to_xyxy(torch.cat([centre, torch.minimum(size, limit)], dim=-1))


def level_counts(image_size, levels):
    """How many priors each level has on an image of (height, width)."""
    return [math.prod(grid_size(image_size, level)) * len(level.base_priors) for level in levels]


@lru_cache(maxsize=64)
def pyramid_priors(image_size, levels, device=None):
    """The priors of all levels, finest first: (height, width) -> [A, 4].

    Results are cached and shared between callers, so they must not be changed in place.
    """
    return torch.cat([grid_priors(image_size, level, device) for level in levels])


def per_prior(prediction, num_values):
    """The values that are predicted for each prior, in the order row, column, shape:
    [B, S * num_values, H, W] -> [B, H * W * S, num_values]."""
    return prediction.permute(0, 2, 3, 1).reshape(prediction.shape[0], -1, num_values)


def apply_heads(heads, feature_maps, num_values):
    """What each head predicts from its feature map, finest level first -> [B, A, num_values]."""
    values = [per_prior(head(x), num_values) for head, x in zip(heads, feature_maps)]
    return torch.cat(values, dim=1)
