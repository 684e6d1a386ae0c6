"""Matching: which object, if any, should each prior learn to find?"""
import torch

from layers.boxes import area, intersection

BACKGROUND, IGNORED = -1, -2


def match(boxes, ignore, priors, positive_iou, negative_iou, force=True):
    """Give every prior the object it overlaps most (SSD, Sec. 2.2; RetinaNet, Sec. 4).

    boxes [N, 4], ignore [N], priors [A, 4] -> [A], each a row of boxes, BACKGROUND or IGNORED. Objects to ignore are
    nobody's match, and priors that lie for the most part inside one are IGNORED unless they found another object.
    RetinaNet's paper leaves an object that no prior reaches without one; force=False does so too.
    """
    if len(boxes) == 0:
        return torch.full((len(priors),), BACKGROUND, device=priors.device)
    shared = intersection(boxes, priors)
    overlap = shared / (area(boxes)[:, None] + area(priors) - shared)
    overlap = overlap.masked_fill_(ignore[:, None], -1)
    best_overlap, matches = overlap.max(dim=0)
    matches = matches.where(best_overlap >= positive_iou, IGNORED)
    matches = matches.where(best_overlap >= negative_iou, BACKGROUND)

    inside = shared.masked_fill_(~ignore[:, None], 0).amax(dim=0) > area(priors) / 2
    matches = matches.masked_fill(inside & (matches == BACKGROUND), IGNORED)

    if force:
        # However poor the overlap, every object keeps its best prior.
        best = best_priors(overlap)
        rows = torch.arange(len(boxes), device=boxes.device)
        matches = matches.scatter(0, best, rows.where(~ignore, matches[best]))
    return matches


def best_priors(overlap):
    """One prior of its own for every object: overlap [N, A], N <= A -> [N], all different.

    Where two want the same one, the larger overlap takes it (of equals, the first object), and the other asks for
    its next best. No index is assigned twice, so the answer is the same on every device.
    """
    # At most N - 1 priors can be gone when an object's turn comes, so its N best are all it ever asks for.
    overlap, wishes = overlap.topk(len(overlap), dim=1)
    order = torch.arange(len(overlap), device=overlap.device)
    before = order[None] < order[:, None]
    turn = torch.zeros_like(order)[:, None]
    for _ in range(len(overlap)):
        wish, wanted = wishes.gather(1, turn), overlap.gather(1, turn)
        stronger = (wanted.T > wanted) | (wanted.T == wanted) & before
        lost = (stronger & (wish.T == wish)).any(dim=1, keepdim=True)
        # N rounds always do; asking whether fewer did would make the host wait for any device but a CPU.
        if lost.device.type == "cpu" and not lost.any():
            break
        turn = turn + lost
    return wishes.gather(1, turn)[:, 0]


def assign(targets, priors, positive_iou, negative_iou, force=True):
    """What every prior of every image should predict.

    Returns labels [B, A] (a class, BACKGROUND or IGNORED) and boxes [B, A, 4] (the object's; the prior's own where
    there is none).
    """
    all_labels, all_boxes = [], []
    for target in targets:
        matches = match(target["boxes"], target["ignore"], priors, positive_iou, negative_iou, force)
        # One more row, so that an image without objects has a row to look at too.
        labels = torch.cat([target["labels"], matches.new_zeros(1)])
        boxes = torch.cat([target["boxes"], priors.new_zeros(1, 4)])
        found = matches >= 0
        row = matches.clamp(min=0)
        all_labels.append(labels[row].where(found, matches))
        all_boxes.append(boxes[row].where(found[:, None], priors))
    return torch.stack(all_labels), torch.stack(all_boxes)
