"""From raw predictions to the few boxes worth showing."""
from torchvision.ops import batched_nms


def detections(boxes, scores, min_score=0.05, max_iou=0.5, candidates=1000, limit=100):
    """Keep confident boxes, best first, no two of a class overlapping by more than max_iou (RetinaNet, Sec. 4.1).

    One image: boxes [A, 4], scores [A, C] -> dict of boxes [D, 4], scores [D], labels [D]. Only the best `candidates`
    of all priors and classes are looked at, and at most `limit` kept.
    """
    prior, label = (scores > min_score).nonzero(as_tuple=True)
    score, best = scores[prior, label].topk(min(candidates, len(prior)))
    box, label = boxes[prior[best]], label[best]
    keep = batched_nms(box, score, label, max_iou)[:limit]
    return dict(boxes=box[keep], scores=score[keep], labels=label[keep])
