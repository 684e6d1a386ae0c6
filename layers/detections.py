"""From raw predictions to the few boxes worth showing."""

import torch
from torchvision.ops import batched_nms

from layers.boxes import area, clip, decode


def detections(
    box_deltas,
    class_logits,
    priors,
    image_size,
    scores,
    level_counts=None,
    score_threshold=0.05,
    nms_iou=0.5,
    pre_nms_topk=1000,
    max_detections=100,
):
    """The confident boxes of one image, best first, without those that repeat a better one.

    box_deltas [A, 4], class_logits [A, ...], priors [A, 4] -> dict of boxes [D, 4], scores [D],
    labels [D]. scores is the model's function that turns logits into probabilities [A, C]. Boxes
    are in pixels, clipped to image_size, (height, width), unless that is None. If priors is None,
    box_deltas are already boxes, as an ONNX file returns them.

    Several priors find the same object. Non-maximum suppression (NMS) removes every box that
    overlaps a better one of its class by more than nms_iou. Only the pre_nms_topk best scores take
    part: of each level, if level_counts says how many priors each has (RetinaNet, Sec. 4.1), else
    of each class, as in SSD's release.
    """
    if level_counts:
        prior, label, score = topk_per_level(class_logits, scores, level_counts, pre_nms_topk)
    else:
        prior, label, score = topk_per_class(scores(class_logits), pre_nms_topk)
    confident = score > score_threshold
    prior = prior[confident]
    label = label[confident]
    score = score[confident]

    boxes = box_deltas[prior]
    if priors is not None:
        boxes = decode(boxes, priors[prior])
    if image_size is not None:
        boxes = clip(boxes, image_size)
    keep = best_survivors(boxes, score, label, nms_iou, max_detections)
    return dict(boxes=boxes[keep], scores=score[keep], labels=label[keep])


def best_survivors(boxes, scores, labels, nms_iou, count):
    """The indices of the boxes that NMS keeps, best first, at most count."""
    order = scores.argsort(descending=True, stable=True)
    # A box outside the image is clipped to an area of 0. Its IoU with another such box would be
    # 0 / 0, and NMS would keep both.
    order = order[area(boxes[order]) > 0]
    # Only a better box can suppress a box, so the best can be processed without the rest: 4 x count
    # at first and, while NMS keeps too few of them, four times as many.
    num_tried = 4 * count
    while True:
        best = order[:num_tried]
        keep = batched_nms(boxes[best], scores[best], labels[best], nms_iou)[:count]
        if len(keep) == count or num_tried >= len(order):
            return best[keep]
        num_tried *= 4


def topk_per_level(class_logits, scores, level_counts, k):
    """The k best scores of each level -> prior [K], label [K], score [K], all levels together."""
    results = []
    first_prior = 0
    for level_logits in class_logits.split(level_counts):
        level_scores = scores(level_logits)  # [A of the level, C]
        num_priors, num_classes = level_scores.shape
        # The k best scores belong to at most k priors, those whose best class scores highest.
        # Searching only these is several times faster.
        prior = level_scores.amax(dim=1).topk(min(k, num_priors)).indices
        score, index = level_scores[prior].flatten().topk(min(k, num_priors * num_classes))
        results.append((first_prior + prior[index // num_classes], index % num_classes, score))
        first_prior += num_priors
    return [torch.cat(parts) for parts in zip(*results)]


def topk_per_class(scores, k):
    """The k best scores of each class, of scores [A, C] -> prior [K], label [K], score [K]."""
    score, prior = scores.T.contiguous().topk(min(k, len(scores)))  # [C, k]
    label = torch.arange(len(score), device=score.device)[:, None].expand_as(score)
    return prior.flatten(), label.flatten(), score.flatten()
