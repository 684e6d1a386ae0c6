"""Matching: which object, if any, should each prior learn to find?"""
import torch
import torch.nn.functional as F

from layers.boxes import area, intersection

BACKGROUND, IGNORED = -1, -2
MOST = 1 << 26  # pairs of an object and a prior that are looked at together, where there is no cache to leave


def match(boxes, ignore, priors, positive_iou, negative_iou, force=True):
    """Give every prior the object it overlaps most (SSD, Sec. 2.2; RetinaNet, Sec. 4).

    boxes [..., N, 4], ignore [..., N], priors [A, 4] -> [..., A], each a row of boxes, BACKGROUND or IGNORED. Objects
    to ignore are nobody's match, and priors that lie for the most part inside one are IGNORED unless they found
    another object. RetinaNet's paper leaves an object that no prior reaches without one; force=False does so too.
    """
    shared = intersection(boxes, priors)
    overlap = shared / (area(boxes)[..., None] + area(priors) - shared)
    overlap = overlap.masked_fill_(ignore[..., None], -1)
    best_overlap, matches = overlap.max(dim=-2)
    matches = matches.where(best_overlap >= positive_iou, IGNORED)
    matches = matches.where(best_overlap >= negative_iou, BACKGROUND)

    inside = shared.masked_fill_(~ignore[..., None], 0).amax(dim=-2) > area(priors) / 2
    matches = matches.masked_fill(inside & (matches == BACKGROUND), IGNORED)

    if force:
        # However poor the overlap, every object keeps its best prior.
        best = best_priors(overlap)
        rows = torch.arange(best.shape[-1], device=best.device)
        matches = matches.scatter(-1, best, rows.where(~ignore, matches.gather(-1, best)))
    return matches


def best_priors(overlap):
    """One prior of its own for every object: overlap [..., N, A], N <= A -> [..., N], all different.

    Where two want the same one, the larger overlap takes it (of equals, the first object), and the other asks for
    its next best. No index is assigned twice, so the answer is the same on every device.
    """
    # At most N - 1 priors can be gone when an object's turn comes, so its N best are all it ever asks for.
    overlap, wishes = overlap.topk(overlap.shape[-2], dim=-1)
    order = torch.arange(overlap.shape[-1], device=overlap.device)
    before = order[None] < order[:, None]
    turn = torch.zeros_like(wishes[..., :1])
    for _ in range(len(order)):
        wish, wanted = wishes.gather(-1, turn), overlap.gather(-1, turn)
        stronger = (wanted.mT > wanted) | (wanted.mT == wanted) & before
        lost = (stronger & (wish.mT == wish)).any(dim=-1, keepdim=True)
        # N rounds always do; asking whether fewer did would make the host wait for any device but a CPU.
        if lost.device.type == "cpu" and not lost.any():
            break
        turn = turn + lost
    return wishes.gather(-1, turn)[..., 0]


def assign(targets, priors, positive_iou, negative_iou, force=True):
    """What every prior of every image should predict.

    Returns labels [B, A] (a class, BACKGROUND or IGNORED) and boxes [B, A, 4] (the object's; the prior's own where
    there is none).
    """
    # A CPU is best at one image at a time, in its cache; another device at few large operations.
    most = max(len(target["labels"]) for target in targets)
    size = 1 if priors.device.type == "cpu" else max(MOST // (len(priors) * max(most, 1)), 1)
    all_labels, all_boxes = [], []
    for i in range(0, len(targets), size):
        boxes, labels, ignore = padded(targets[i:i + size])
        matches = match(boxes, ignore, priors, positive_iou, negative_iou, force)
        found, row = matches >= 0, matches.clamp(min=0)
        all_labels.append(labels.gather(1, row).where(found, matches))
        all_boxes.append(boxes.gather(1, row[..., None].expand(-1, -1, 4)).where(found[..., None], priors))
    return torch.cat(all_labels), torch.cat(all_boxes)


def padded(targets):
    """Images of equally many objects, at least one: boxes [b, N, 4], labels [b, N], ignore [b, N], which is true where
    there was none."""
    most = max(1, *(len(target["labels"]) for target in targets))
    missing = [(0, most - len(target["labels"])) for target in targets]
    return [torch.stack([F.pad(target[name], (0, 0) * deeper + more, value=value)
                         for target, more in zip(targets, missing)])
            for name, deeper, value in (("boxes", 1, 0), ("labels", 0, 0), ("ignore", 0, True))]
