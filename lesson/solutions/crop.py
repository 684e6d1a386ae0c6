"""Which crops may SSD's augmentation make, and what becomes of the objects?

A part of the image is a box like any other, so IoU says how much it has to do with an object. One
object that overlaps it enough will do: if all had to, crowded images would hardly ever be cropped.
An object stays if its centre does, which is a compromise: with fewer, half visible objects would be
learned as background; with more, a few pixels at the border would be called an object. The boxes
that stay are cut at the part's border and moved, both corners by the same amount, because the new
image begins at the part's top left corner. The labels go through the same mask, or all names after
the first lost object would be wrong.
"""

import numpy as np


def has_overlap(part, boxes, min_iou):
    if len(boxes) == 0:
        return True
    sides = np.minimum(part[2:], boxes[:, 2:]) - np.maximum(part[:2], boxes[:, :2])
    shared = sides.clip(0).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = area + (part[2:] - part[:2]).prod() - shared
    return bool((shared / union).max() >= min_iou)


def keep_objects(part, boxes, labels):
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    kept = ((centres > part[:2]) & (centres < part[2:])).all(axis=1)
    boxes = boxes[kept].clip(part[[0, 1, 0, 1]], part[[2, 3, 2, 3]])
    return boxes - part[[0, 1, 0, 1]], labels[kept]
