"""Priors: the boxes a detector starts from. SSD calls them default boxes, RetinaNet anchors."""
import math
from functools import lru_cache
from typing import NamedTuple

import torch

from layers.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh


class Level(NamedTuple):
    """One feature map: the pixels between its cells, and the priors of its first cell, xyxy in pixels.

    The other two are for published detectors: `fitted` takes as stride what divides the image into the map's cells,
    rounded down; `clamp` cuts the "sizes" of priors, or the "centres" as well, to those of the image.
    """
    stride: int
    cell: tuple
    fitted: bool = False
    clamp: str = ""


def centred(stride, shapes):
    """A level whose shapes, (width, height) in pixels, stand in the middle of the cell."""
    middle = stride / 2
    return Level(stride, tuple((middle - width / 2, middle - height / 2, middle + width / 2, middle + height / 2)
                               for width, height in shapes))


def grid(image_size, level):
    """How many cells (rows, columns) a level's map has on an image of (height, width)."""
    return [math.ceil(side / level.stride) for side in image_size]


def grid_priors(image_size, level, device=None):
    """Lay the priors of the first cell over every cell of a feature map.

    image_size is (height, width) in pixels. Returns [H * W * S, 4], ordered by row, column, shape:
    the order in which heads predict.
    """
    cells = grid(image_size, level)
    steps = [side // count if level.fitted else level.stride for side, count in zip(image_size, cells)]
    y, x = (torch.arange(count, device=device) * step for count, step in zip(cells, steps))
    y, x = torch.meshgrid(y, x, indexing="ij")
    corners = torch.stack([x, y, x, y], dim=-1)[:, :, None]
    priors = (corners + torch.tensor(level.cell, device=device)).flatten(0, 2)
    return clamped(priors, image_size, level.clamp) if level.clamp else priors


def clamped(priors, image_size, what):
    """Priors no larger than the image and, if `what` is "centres", with their centres on it."""
    height, width = image_size
    centre, size = xyxy_to_cxcywh(priors).split(2, dim=-1)
    limit = priors.new_tensor([width, height])
    if what == "centres":
        centre = torch.minimum(centre, limit)
    return cxcywh_to_xyxy(torch.cat([centre, torch.minimum(size, limit)], dim=-1))


def level_sizes(image_size, levels):
    """How many priors each level has on an image of (height, width)."""
    return [math.prod(grid(image_size, level)) * len(level.cell) for level in levels]


@lru_cache(maxsize=64)
def pyramid_priors(image_size, levels, device=None):
    """The priors of all levels, finest first: (height, width) -> [A, 4]. Made once for each size and device."""
    return torch.cat([grid_priors(image_size, level, device) for level in levels])
