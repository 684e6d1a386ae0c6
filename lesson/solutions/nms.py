"""How do many boxes on one object become one?

The boxes wait in the order of their scores. The first is kept, for nothing better is left that
could repeat it, and all boxes that repeat it leave the queue: those of its class that overlap it
too much. What has left can suppress nothing any more. Each round takes at least one box out, so the
loop ends, and the boxes are kept in the order of their scores.
"""

import torch

from layers.boxes import iou


def batched_nms(boxes, scores, labels, iou_threshold):
    order = scores.argsort(descending=True)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        overlap = iou(boxes[best][None], boxes[rest])[0]
        repeats = (labels[rest] == labels[best]) & (overlap > iou_threshold)
        order = rest[~repeats]
    return torch.stack(kept) if kept else order
