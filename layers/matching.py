"""Matching: which object, if any, should each prior learn to predict?"""

import torch
from torch.nn.utils.rnn import pad_sequence

from layers.boxes import area, intersection

# In place of an object's row: BACKGROUND for a prior without an object, IGNORED for one that adds
# nothing to the losses.
BACKGROUND, IGNORED = -1, -2
# Pairs of an object and a prior to compare at a time, to limit memory; one image at least.
MAX_PAIRS = 1 << 26


def match(boxes, ignore, priors, positive_iou, negative_iou, force_match=True):
    """Match each prior to the object of largest IoU (SSD, Sec. 2.2; RetinaNet, Sec. 4).

    boxes [B, N, 4], ignore [B, N], priors [A, 4] -> [B, A]: a row of boxes if the IoU is at least
    positive_iou, BACKGROUND below negative_iou, IGNORED in between. ignore marks objects that are
    not learned, such as crowds drawn as one box: no prior is matched to them, and background with
    more than half of its area in one becomes IGNORED.

    With force_match, each object that is not to be ignored also gets a prior of its own, however
    small their IoU. SSD does this, and so does RetinaNet: its paper refers to the rule of Faster
    R-CNN's RPN, and its authors' program follows it.
    """
    num_objects = boxes.shape[1]
    images_at_once = max(MAX_PAIRS // (len(priors) * num_objects), 1)
    parts, best = [], []
    for chunk in zip(boxes.split(images_at_once), ignore.split(images_at_once)):
        matches, overlap = match_by_threshold(*chunk, priors, positive_iou, negative_iou)
        parts.append(matches)
        if force_match:
            # The other objects take at most N - 1 priors, so one of an object's N best is free.
            best.append(overlap.topk(min(num_objects, len(priors))))
    matches = torch.cat(parts)
    if force_match:
        best_overlap, best_prior = map(torch.cat, zip(*best))
        chosen = best_priors(best_overlap, best_prior)
        rows = torch.arange(num_objects, device=ignore.device).where(chosen >= 0, -1)
        chosen = chosen.clamp(min=0)
        # Write each object's row to its prior. An object without one writes -1 to prior 0, where
        # amax prefers any row. All shapes are fixed, so the program does not wait for a GPU.
        forced = torch.full_like(matches, -1).scatter_reduce(1, chosen, rows, reduce="amax")
        matches = forced.where(forced >= 0, matches)
    return matches


def match_by_threshold(boxes, ignore, priors, positive_iou, negative_iou):
    """match() without force_match -> [B, A]; and the IoUs [B, N, A], -1 for ignored objects."""
    shared = intersection(boxes[:, :, None], priors)
    overlap = shared / (area(boxes)[:, :, None] + area(priors) - shared)
    overlap = overlap.masked_fill_(ignore[:, :, None], -1)
    best_overlap, matches = overlap.max(dim=1)
    # Between the two thresholds, a prior is too close to an object to be background.
    matches = matches.where(best_overlap >= positive_iou, IGNORED)
    matches = matches.where(best_overlap >= negative_iou, BACKGROUND)

    largest_share = shared.masked_fill_(~ignore[:, :, None], 0).amax(dim=1) / area(priors)
    is_covered = (largest_share > 0.5) & (matches == BACKGROUND)
    return matches.masked_fill(is_covered, IGNORED), overlap


def best_priors(overlap, prior):
    """A prior for every object, a different one for each object of an image -> [B, N].

    overlap [B, N, K], prior [B, N, K]: the K largest IoUs of every object, and which priors have
    them. The pair with the largest IoU is matched, its object and its prior are crossed out, and so
    on, as in SSD's release (the paper, Sec. 2.2, leaves the order open). Of equal IoUs, the first
    object goes first. An object with negative IoUs only, as objects to ignore have, or whose priors
    are all taken, gets none: -1.
    """
    objects = torch.arange(overlap.shape[1], device=overlap.device)
    chosen = torch.full_like(prior[:, :, 0], -1)
    for _ in range(len(objects)):
        largest, place = overlap.flatten(1).max(dim=1, keepdim=True)
        taken = prior.flatten(1).gather(1, place)
        is_next = objects == place // overlap.shape[2]  # [N], [B, 1] -> [B, N]
        chosen = taken.where(is_next & (largest >= 0), chosen)
        # The object has its prior now, and no other may take that.
        crossed_out = is_next[:, :, None] | (prior == taken[:, :, None])
        overlap = overlap.masked_fill(crossed_out, -1)
    return chosen


def assign(targets, priors, positive_iou, negative_iou, force_match=True):
    """What every prior of every image should predict.

    targets are B dicts of boxes [N, 4], labels [N] and ignore [N]; priors [A, 4]. Returns labels
    [B, A], each a class, BACKGROUND or IGNORED; and boxes [B, A, 4], the matched object's or,
    without one, the prior itself, so that encode() stays finite.
    """
    # A GPU is fastest with few, large operations; a CPU is faster image by image, as the IoUs of
    # one fit into its cache.
    parts = [[target] for target in targets] if priors.device.type == "cpu" else [targets]
    all_labels, all_boxes = [], []
    for part in parts:
        boxes, labels, ignore = stack_targets(part)
        matches = match(boxes, ignore, priors, positive_iou, negative_iou, force_match)
        row = matches.clamp(min=0)
        has_object = matches >= 0
        matched_boxes = boxes.gather(1, row[..., None].expand(-1, -1, 4))
        all_labels.append(labels.gather(1, row).where(has_object, matches))
        all_boxes.append(matched_boxes.where(has_object[..., None], priors))
    return torch.cat(all_labels), torch.cat(all_boxes)


def stack_targets(targets):
    """B targets as three tensors: boxes [B, N, 4], labels [B, N], ignore [B, N].

    N is the largest number of objects, at least 1. Images with fewer get objects to ignore.
    """
    device = targets[0]["boxes"].device
    # match() needs N >= 1: an extra image with one object sees to that, and [:-1] drops it again.
    boxes = [target["boxes"] for target in targets] + [torch.zeros(1, 4, device=device)]
    labels = [target["labels"] for target in targets] + [torch.zeros(1, dtype=int, device=device)]
    ignore = [target["ignore"] for target in targets] + [torch.ones(1, dtype=bool, device=device)]
    return (
        pad_sequence(boxes, batch_first=True)[:-1],
        pad_sequence(labels, batch_first=True)[:-1],
        pad_sequence(ignore, batch_first=True, padding_value=True)[:-1],
    )
