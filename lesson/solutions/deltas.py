"""How is a box described relative to a prior, and read back?

Both functions begin with centre and size instead of corners. A shift counts in units of the prior's
size, and a change of size as a logarithm, so that twice as wide and half as wide are equally far
from 0, and every number that the network may predict is a possible size. Both are divided by what
is typical, 0.1 and 0.2, which brings the network's outputs to about 1. decode has the same four
lines backwards. It is also used on networks that have learned nothing yet: the logarithm is limited
before exp(), because an infinite box would make everything that follows infinite or nan.
"""

import math

import torch

from layers.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh

LARGEST = 62.5  # how many times as large as its prior a box may be


def encode(boxes, priors):
    centre, size = xyxy_to_cxcywh(boxes).split(2, dim=-1)
    prior_centre, prior_size = xyxy_to_cxcywh(priors).split(2, dim=-1)
    shift = (centre - prior_centre) / prior_size
    stretch = torch.log(size / prior_size)
    return torch.cat([shift / 0.1, stretch / 0.2], dim=-1)


def decode(deltas, priors):
    shift, stretch = deltas.split(2, dim=-1)
    prior_centre, prior_size = xyxy_to_cxcywh(priors).split(2, dim=-1)
    centre = prior_centre + (shift * 0.1) * prior_size
    size = prior_size * (stretch * 0.2).clamp(max=math.log(LARGEST)).exp()
    return cxcywh_to_xyxy(torch.cat([centre, size], dim=-1))
