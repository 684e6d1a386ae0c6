"""From raw predictions to the few boxes worth showing."""
import torch
from torchvision.ops import batched_nms

from layers.boxes import clip, decode

PIECE = {"cpu": 1 << 14}  # priors at a time: of a CPU, those whose scores its cache holds


def detections(box_deltas, class_logits, priors, image_size, scores, levels=None, min_score=0.05, max_iou=0.5,
               candidates=1000, limit=100):
    """Keep confident boxes, best first, no two of a class overlapping by more than max_iou (RetinaNet, Sec. 4.1).

    One image: box_deltas [A, 4], class_logits [A, ...], of which scores() makes [A, C], priors [A, 4] -> dict of boxes
    [D, 4], scores [D], labels [D], in pixels and cut at the border of image_size, (height, width), unless that is None.
    Only so many candidates are decoded, and at most `limit` kept. levels, the number of priors of each, makes it so
    many of every level, as in RetinaNet; without, it is so many of every class, as in SSD.
    """
    if levels:
        prior, label, score = best_of_levels(class_logits, scores, levels, candidates)
    else:
        prior, label, score = best_of_classes(scores(class_logits), candidates)
    sure = score > min_score
    prior, label, score = prior[sure], label[sure], score[sure]
    boxes = decode(box_deltas[prior], priors[prior])
    boxes = clip(boxes, image_size) if image_size else boxes
    keep = batched_nms(boxes, score, label, max_iou)[:limit]
    return dict(boxes=boxes[keep], scores=score[keep], labels=label[keep])


def best_of_levels(class_logits, scores, levels, count):
    """The best scores of each level -> prior, label, score of each.

    They must all belong to the priors with the best scores of their own: only those are sorted.
    """
    found, start = [], 0
    for level in class_logits.split(levels):
        rows = []
        for piece in level.split(PIECE.get(level.device.type, len(level))):
            score = scores(piece)
            best = score.amax(dim=1).topk(min(count, len(piece))).indices
            rows.append((start + best, score[best]))
            start += len(piece)
        prior, score = (torch.cat(one) for one in zip(*rows))
        best, flat = score.flatten().topk(min(count, score.numel()))
        found.append((prior[flat // score.shape[1]], flat % score.shape[1], best))
    return [torch.cat(one) for one in zip(*found)]


def best_of_classes(scores, count):
    """The best scores [A, C] of each class -> prior, label, score of each."""
    score, prior = scores.T.contiguous().topk(min(count, len(scores)))
    label = torch.arange(len(score), device=score.device)[:, None].expand_as(score)
    return prior.flatten(), label.flatten(), score.flatten()
