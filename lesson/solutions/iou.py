"""How much do two boxes overlap?

The shared rectangle begins at the larger of the two left sides and ends at the smaller of the two
right ones, and the same from top to bottom. Boxes that are apart end before they begin: the width
or the height is negative, and must become 0 before the two are multiplied, for the product of two
negative numbers would be an area. What both boxes cover together is the sum of their areas, in
which the shared part is counted twice, so it is subtracted once. boxes[:, None] gives the boxes a
dimension of length 1 that broadcasting repeats for all others: every pair, and no loop.
"""

import torch


def iou(boxes, others):
    boxes = boxes[:, None]
    top_left = torch.maximum(boxes[..., :2], others[:, :2])
    bottom_right = torch.minimum(boxes[..., 2:], others[:, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    other_area = (others[:, 2:] - others[:, :2]).prod(dim=-1)
    return shared / (area + other_area - shared)
