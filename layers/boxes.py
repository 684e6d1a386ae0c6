"""Boxes: two ways to write one, how much two overlap, and how a network describes one.

xyxy      left, top, right, bottom in pixels. Used unless noted.
cxcywh    centre x, centre y, width, height in pixels. Used only inside functions, as in encode.

Letters in shapes, here and in all modules: B images, A priors of an image, N objects of one image,
C classes, S priors of each cell of a feature map, H rows, W columns, D detections.
"""

import math

import torch

# encode() divides by these, so that each of the four deltas has about unit variance. SSD's program
# calls them variances.
CENTRE_SCALE = 0.1
SIZE_SCALE = 0.2
DELTA_SCALE = (CENTRE_SCALE, CENTRE_SCALE, SIZE_SCALE, SIZE_SCALE)
# A decoded box is at most this many times as wide and as high as its prior, as in Detectron, so
# that exp() of an untrained prediction stays finite.
MAX_SIZE_RATIO = 1000 / 16


def xyxy_to_cxcywh(boxes):
    """Corners [..., 4] -> centre and size [..., 4]."""
    top_left, bottom_right = boxes.split(2, dim=-1)
    return torch.cat([(top_left + bottom_right) / 2, bottom_right - top_left], dim=-1)


def cxcywh_to_xyxy(boxes):
    """Centre and size [..., 4] -> corners [..., 4]."""
    centre, size = boxes.split(2, dim=-1)
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def area(boxes):
    """The area of each box in square pixels: [..., 4] -> [...]."""
    left, top, right, bottom = boxes.unbind(dim=-1)
    return (right - left) * (bottom - top)


def intersection(boxes, others):
    """The area that each box shares with its partner, square pixels: [..., 4], [..., 4] -> [...].

    The shapes broadcast: boxes [N, 1, 4] and others [M, 4] give every pair, [N, M].
    """
    left, top, right, bottom = boxes.unbind(dim=-1)
    # others are mostly all priors of an image, whose coordinates are read several times faster if
    # they are contiguous. The results, one for every pair, are large, and so updated in place.
    other_left, other_top, other_right, other_bottom = others.movedim(-1, 0).contiguous()
    width = torch.minimum(right, other_right).sub_(torch.maximum(left, other_left)).clamp_(min=0)
    height = torch.minimum(bottom, other_bottom).sub_(torch.maximum(top, other_top)).clamp_(min=0)
    return width.mul_(height)


def paired_iou(boxes, others):
    """Intersection over union of each box and its partner, 0 to 1; the shapes broadcast."""
    shared = intersection(boxes, others)
    return shared / (area(boxes) + area(others) - shared)


def iou(boxes, others):
    """Intersection over union of every pair, 0 apart to 1 identical: [N, 4], [M, 4] -> [N, M]."""
    return paired_iou(boxes[:, None], others)


def giou(boxes, others):
    """Generalized IoU of each box and its partner, -1 far apart to 1 identical: [..., 4] -> [...].

    Rezatofighi et al., 2019: unlike IoU, it has a gradient where boxes do not touch.
    """
    shared = intersection(boxes, others)
    union = area(boxes) + area(others) - shared
    top_left = torch.minimum(boxes[..., :2], others[..., :2])
    bottom_right = torch.maximum(boxes[..., 2:], others[..., 2:])
    enclosing = area(torch.cat([top_left, bottom_right], dim=-1))
    return shared / union - (enclosing - union) / enclosing


def encode(boxes, priors):
    """The deltas of each box from its prior (Faster R-CNN, Eq. 2): [..., 4], [..., 4] -> [..., 4].

    The first two are the shift of the centre, in widths and heights of the prior; the others are
    the logarithms of box width / prior width and box height / prior height. All four are divided by
    DELTA_SCALE.
    """
    centre, size = xyxy_to_cxcywh(boxes).split(2, dim=-1)
    prior_centre, prior_size = xyxy_to_cxcywh(priors).split(2, dim=-1)
    shift = (centre - prior_centre) / (prior_size * CENTRE_SCALE)
    stretch = torch.log(size / prior_size) / SIZE_SCALE
    return torch.cat([shift, stretch], dim=-1)


def decode(deltas, priors):
    """The boxes that deltas describe; undoes encode: [..., A, 4], [A, 4] -> [..., A, 4]."""
    shift, stretch = deltas.split(2, dim=-1)
    prior_centre, prior_size = xyxy_to_cxcywh(priors).split(2, dim=-1)
    centre = prior_centre + shift * (prior_size * CENTRE_SCALE)
    size = prior_size * (stretch * SIZE_SCALE).clamp(max=math.log(MAX_SIZE_RATIO)).exp()
    return cxcywh_to_xyxy(torch.cat([centre, size], dim=-1))


def clip(boxes, image_size):
    """Clip boxes [..., 4] to an image of (height, width) pixels."""
    height, width = image_size
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))
