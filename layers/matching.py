"""Matching: which object, if any, should each prior learn to predict?"""

import torch
from torch.nn.utils.rnn import pad_sequence

from layers.boxes import area, intersection

BACKGROUND, IGNORED = -1, -2
# How many pairs of an object and a prior are compared at a time on a GPU; it limits the memory.
CHUNK_SIZE = 1 << 26


def match(boxes, ignore, priors, positive_iou, negative_iou, force_match=True):
    """Give every prior the object it overlaps most (SSD, Sec. 2.2; RetinaNet, Sec. 4).

    boxes [..., N, 4], ignore [..., N], priors [A, 4] -> [..., A], each a row of boxes, BACKGROUND
    or IGNORED. An object to ignore is matched to no prior, and priors that lie for the most part
    inside one are IGNORED unless they have another object. RetinaNet's paper has no forced
    matches: with force_match=False, an object that no prior overlaps enough has none.
    """
    shared = intersection(boxes[..., None, :], priors)
    overlap = shared / (area(boxes)[..., None] + area(priors) - shared)
    overlap = overlap.masked_fill_(ignore[..., None], -1)
    best_overlap, matches = overlap.max(dim=-2)
    matches = matches.where(best_overlap >= positive_iou, IGNORED)
    matches = matches.where(best_overlap >= negative_iou, BACKGROUND)

    largest_share = shared.masked_fill_(~ignore[..., None], 0).amax(dim=-2) / area(priors)
    matches = matches.masked_fill((largest_share > 0.5) & (matches == BACKGROUND), IGNORED)

    if force_match:
        # However poor the overlap, every object keeps its best prior.
        rows = torch.arange(boxes.shape[-2], device=boxes.device).where(~ignore, -1)
        forced = torch.full_like(matches, -1)
        forced = forced.scatter_reduce(-1, best_priors(overlap), rows, reduce="amax")
        matches = forced.where(forced >= 0, matches)
    return matches


def best_priors(overlap):
    """A prior for every object, no two the same: overlap [..., N, A], N <= A -> [..., N].

    The largest overlap of all takes its prior, then the largest of the remaining objects and
    priors, and so on (SSD, Sec. 2.2, cites MultiBox's bipartite matching; this is its greedy
    form). Of equal overlaps, the first object goes first. An object whose overlaps are all
    negative takes none: 0.
    """
    num_objects = overlap.shape[-2]
    # At most N - 1 priors can be taken when an object chooses: its N best are all it may need.
    best_overlaps, best = overlap.topk(num_objects, dim=-1)
    order = torch.arange(num_objects, device=overlap.device)
    goes_first = order[:, None] < order
    chosen = torch.zeros_like(best[..., 0])
    waiting = best_overlaps[..., 0] >= 0
    taken = torch.zeros_like(overlap[..., 0, :])

    # A round serves every object whose best free prior no waiting object overlaps more, so the one
    # with the largest overlap at least: after N rounds all are served.
    for _ in range(num_objects):
        is_taken = taken.gather(-1, best.flatten(-2)).view_as(best) > 0
        wish_overlap, rank = best_overlaps.masked_fill(is_taken, -1).max(dim=-1)
        wish = best.gather(-1, rank[..., None])[..., 0]

        # rivals[j, i]: how much object j overlaps the prior that object i wishes.
        rivals = overlap.gather(-1, wish[..., None, :].expand_as(best))
        stronger = (rivals > wish_overlap[..., None, :]) | (
            (rivals == wish_overlap[..., None, :]) & goes_first
        )
        outbid = (stronger & waiting[..., None]).any(dim=-2)

        served = waiting & ~outbid
        chosen = wish.where(served, chosen)
        taken.scatter_reduce_(-1, wish, served.to(taken.dtype), reduce="amax")
        waiting = waiting & outbid
        # Other devices are not asked, for the program would have to wait for their answer.
        if waiting.device.type == "cpu" and not waiting.any():
            break
    return chosen


def assign(targets, priors, positive_iou, negative_iou, force_match=True):
    """What every prior of every image should predict, from targets (B dicts) and priors [A, 4].

    Returns labels [B, A], each a class, BACKGROUND or IGNORED; boxes [B, A, 4], each the matched
    object's, or the prior itself where there is none.
    """
    max_objects = max(len(target["labels"]) for target in targets)
    # A CPU is fastest one image at a time, within its cache; a GPU with few large operations.
    images_at_once = 1
    if priors.device.type != "cpu":
        images_at_once = max(CHUNK_SIZE // (len(priors) * max(max_objects, 1)), 1)
    all_labels, all_boxes = [], []
    for start in range(0, len(targets), images_at_once):
        boxes, labels, ignore = stack_targets(targets[start : start + images_at_once])
        matches = match(boxes, ignore, priors, positive_iou, negative_iou, force_match)
        row = matches.clamp(min=0)
        has_object = matches >= 0
        matched_boxes = boxes.gather(1, row[..., None].expand(-1, -1, 4))
        all_labels.append(labels.gather(1, row).where(has_object, matches))
        all_boxes.append(matched_boxes.where(has_object[..., None], priors))
    return torch.cat(all_labels), torch.cat(all_boxes)


def stack_targets(targets):
    """B targets as three tensors: boxes [B, N, 4], labels [B, N], ignore [B, N].

    N is the largest number of objects, at least 1; fewer are filled up with objects to ignore.
    """
    device = targets[0]["boxes"].device
    # A further image with one object makes N at least 1; it is cut off again.
    boxes = [target["boxes"] for target in targets] + [torch.zeros(1, 4, device=device)]
    labels = [target["labels"] for target in targets] + [torch.zeros(1, dtype=int, device=device)]
    ignore = [target["ignore"] for target in targets] + [torch.ones(1, dtype=bool, device=device)]
    return (
        pad_sequence(boxes, batch_first=True)[:-1],
        pad_sequence(labels, batch_first=True)[:-1],
        pad_sequence(ignore, batch_first=True, padding_value=True)[:-1],
    )
