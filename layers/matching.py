"""Matching: which object, if any, should each prior learn to predict?"""

import torch
from torch.nn.utils.rnn import pad_sequence

from layers.boxes import area, intersection
from layers.fast_matching import fast_best_priors

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
    matches, overlap = match_by_threshold(boxes, ignore, priors, positive_iou, negative_iou)
    return force(matches, ignore, best_priors(overlap)) if force_match else matches


def match_by_threshold(boxes, ignore, priors, positive_iou, negative_iou):
    """match without forced matches; and the overlaps [..., N, A], -1 of objects to ignore."""
    shared = intersection(boxes[..., None, :], priors)
    overlap = shared / (area(boxes)[..., None] + area(priors) - shared)
    overlap = overlap.masked_fill_(ignore[..., None], -1)
    best_overlap, matches = overlap.max(dim=-2)
    matches = matches.where(best_overlap >= positive_iou, IGNORED)
    matches = matches.where(best_overlap >= negative_iou, BACKGROUND)

    largest_share = shared.masked_fill_(~ignore[..., None], 0).amax(dim=-2) / area(priors)
    is_covered = (largest_share > 0.5) & (matches == BACKGROUND)
    return matches.masked_fill(is_covered, IGNORED), overlap


def force(matches, ignore, chosen):
    """The matches [..., A], but every object keeps the prior chosen [..., N] for it."""
    rows = torch.arange(ignore.shape[-1], device=ignore.device).where(~ignore, -1)
    forced = torch.full_like(matches, -1).scatter_reduce(-1, chosen, rows, reduce="amax")
    return forced.where(forced >= 0, matches)


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
        if not waiting.any():
            break
    return chosen


def match_together(boxes, ignore, priors, positive_iou, negative_iou, force_match=True):
    """The same as match, for images [B, N, 4] on a GPU: with few, large operations."""
    num_objects = boxes.shape[1]
    images_at_once = max(CHUNK_SIZE // (len(priors) * num_objects), 1)
    parts = []
    for chunk in zip(boxes.split(images_at_once), ignore.split(images_at_once)):
        matches, overlap = match_by_threshold(*chunk, priors, positive_iou, negative_iou)
        parts.append((matches, *overlap.topk(num_objects)) if force_match else (matches,))
    matches, *best = map(torch.cat, zip(*parts))
    return force(matches, ignore, fast_best_priors(*best)) if force_match else matches


def assign(targets, priors, positive_iou, negative_iou, force_match=True):
    """What every prior of every image should predict, from targets (B dicts) and priors [A, 4].

    Returns labels [B, A], each a class, BACKGROUND or IGNORED; boxes [B, A, 4], each the matched
    object's, or the prior itself where there is none.
    """
    # A CPU is fastest one image at a time, within its cache.
    parts, rule = [[target] for target in targets], match
    if priors.device.type != "cpu":
        parts, rule = [targets], match_together
    all_labels, all_boxes = [], []
    for part in parts:
        boxes, labels, ignore = stack_targets(part)
        matches = rule(boxes, ignore, priors, positive_iou, negative_iou, force_match)
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
