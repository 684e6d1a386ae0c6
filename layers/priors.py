"""Priors: the boxes a detector starts from. SSD calls them default boxes, RetinaNet anchors."""
import math
from functools import lru_cache
from typing import NamedTuple

import torch

from layers.boxes import cxcywh_to_xyxy


class Level(NamedTuple):
    """One feature map: the pixels between its cells, and the (width, height) in pixels of each of its priors."""
    stride: int
    shapes: tuple


def grid_priors(image_size, level, device=None):
    """Centre every shape on every cell of a feature map.

    image_size is (height, width) in pixels. Returns [H * W * S, 4], ordered by row, column, shape:
    the order in which heads predict.
    """
    rows, columns = (math.ceil(side / level.stride) for side in image_size)
    y = (torch.arange(rows, device=device) + 0.5) * level.stride
    x = (torch.arange(columns, device=device) + 0.5) * level.stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    shapes = torch.tensor(level.shapes, device=device)
    centres = torch.stack([x, y], dim=-1)[:, :, None].expand(-1, -1, len(shapes), -1)
    sizes = shapes.expand(rows, columns, -1, -1)
    return cxcywh_to_xyxy(torch.cat([centres, sizes], dim=-1)).flatten(0, 2)


@lru_cache(maxsize=64)
def pyramid_priors(image_size, levels, device=None):
    """The priors of all levels, finest first: (height, width) -> [A, 4]. Made once for each size and device."""
    return torch.cat([grid_priors(image_size, level, device) for level in levels])
