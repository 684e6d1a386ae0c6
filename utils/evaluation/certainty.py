"""How certain a detection must be to be shown, and how certain a metric is."""

import math
from typing import NamedTuple

import numpy as np

from utils.evaluation.metrics import ap_at_101_recalls, match_detections

ROUNDS = 200
MANY_IMAGES = 1000  # of so many, an average is certain enough, and resampling slow


class Operation(NamedTuple):
    """The score threshold with the best F1, and precision and recall of the detections over it."""

    threshold: float
    precision: float
    recall: float
    f1: float


def best_operation(classes, records, detections):
    """The Operation of all classes together, and of each class; IoU 0.5 is a hit."""
    matches = match_detections(classes, records, detections)
    per_class = {
        name: best_f1(match.scores, match.hits[0], match.counts[0], match.objects.sum())
        for name, match in matches.items()
    }
    scores, hits, counts = (
        np.concatenate([np.zeros(0), *parts])
        for parts in zip(
            *((match.scores, match.hits[0], match.counts[0]) for match in matches.values())
        )
    )
    objects = sum(match.objects.sum() for match in matches.values())
    return best_f1(scores, hits > 0, counts > 0, objects), per_class


def best_f1(scores, hits, counts, objects):
    """The Operation of detections that hit or miss; nan where there is no object or no hit."""
    order = np.argsort(-scores[counts], kind="stable")
    scores, hits = scores[counts][order], hits[counts][order]
    if objects == 0 or not hits.any():
        return Operation(math.nan, math.nan, math.nan, math.nan)
    true_positives = np.cumsum(hits)
    precision, recall = true_positives / np.arange(1, len(hits) + 1), true_positives / objects
    f1 = 2 * true_positives / (np.arange(1, len(hits) + 1) + objects)
    # Equal scores pass a threshold together: only the last of them is a point of operation.
    last = np.append(scores[1:] != scores[:-1], True)
    best = np.where(last, f1, -1).argmax()
    # The threshold lies in the middle of the gap to the next score, and survives rounding there.
    following = scores[best + 1] if best + 1 < len(scores) else 0.0
    threshold = float(scores[best] + following) / 2
    return Operation(threshold, float(precision[best]), float(recall[best]), float(f1[best]))


def interval(matches, seed=0):
    """The 95 % interval of the average precision, by resampling the images; None of many images.

    matches: of each class. Efron's bootstrap: as many images are drawn as there are, with
    repetition, 200 times; a difference within the interval may be chance.
    """
    num_images = len(next(iter(matches.values())).objects)
    if not 1 < num_images <= MANY_IMAGES:
        return None
    random, values = np.random.default_rng(seed), []
    for _ in range(ROUNDS):
        weights = np.bincount(random.integers(num_images, size=num_images), minlength=num_images)
        precisions = [weighted_precision(match, weights) for match in matches.values()]
        known = [value for value in precisions if not math.isnan(value)]
        if known:
            values.append(np.mean(known))
    if not values:
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def weighted_precision(matches, weights):
    """The average precision of a class, every image counted so many times; nan without objects."""
    objects = (matches.objects * weights).sum()
    if objects == 0:
        return math.nan
    weight = weights[matches.images]
    values = []
    for hits, counts in zip(matches.hits, matches.counts):
        true_positives, tried = np.cumsum(hits * weight), np.cumsum(counts * weight)
        values.append(ap_at_101_recalls(true_positives, tried, objects))
    return float(np.mean(values))
