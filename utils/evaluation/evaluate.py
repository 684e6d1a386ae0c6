"""Evaluation: a model's detections on a dataset, and their metrics."""

import math
import textwrap
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data.batch import EvalBatches
from utils import parallel
from utils.build import build_loader
from utils.evaluation.errors import Errors, breakdown, breakdown_lines, find_errors
from utils.evaluation.metrics import ap_at_101_recalls, compute_metrics, match_detections
from utils.predict import predict, to_original

ROUNDS = 200
MANY_IMAGES = 1000  # of so many, an average is certain enough, and resampling slow


class Operation(NamedTuple):
    """The score threshold with the best F1, and precision and recall of the detections over it."""

    threshold: float
    precision: float
    recall: float
    f1: float


class Evaluation(NamedTuple):
    """What an evaluation finds."""

    metrics: dict  # name -> value, the most important first
    per_class: dict  # class name -> its metrics
    interval: tuple  # of the first metric, or None
    operation: Operation  # the score threshold with the best F1
    class_operations: dict  # class name -> its own
    detections: dict  # image number -> boxes, scores, labels
    # Of with_errors():
    breakdown: dict = None  # AP50, and by kind of error how many there are and what they cost
    errors: Errors = None  # what is wrong with each detection
    advice: tuple = ()  # sentences

    @property
    def result(self):
        """The first metric, by which evaluations are compared; 0 where there is no object."""
        first = next(iter(self.metrics.values()))
        return 0.0 if math.isnan(first) else first

    def facts(self):
        """What a checkpoint tells of itself: its metrics, and the score to show detections from."""
        threshold = self.operation.threshold
        return dict(
            metrics=self.metrics, show_threshold=None if math.isnan(threshold) else threshold
        )


def evaluate(model, dataset, recipe, device):
    """Evaluate a model on a dataset by the recipe's metric -> Evaluation.

    Of several processes, each predicts its share of the images, and all get the whole result.
    """
    parallel.copy_statistics_from_rank0(model)
    detections = parallel.gather_detections(detect_all(model, dataset, recipe, device))
    metrics, per_class, matches = compute_metrics(
        recipe.metric, dataset.classes, dataset.records, detections
    )
    operation, class_operations = best_operation(dataset.classes, dataset.records, detections)
    return Evaluation(
        metrics, per_class, interval(matches), operation, class_operations, detections
    )


def with_errors(evaluation, dataset):
    """The same Evaluation with its errors: for one that is shown, as it takes seconds for thousands
    of images."""
    errors = find_errors(dataset.records, evaluation.detections)
    return evaluation._replace(errors=errors, breakdown=breakdown(dataset.classes, errors))


def detect_all(model, dataset, recipe, device):
    """The detections on this process's share of a dataset, by image number."""

    def predict_batch(images, targets):
        return predict(model, images, targets, recipe)

    was_training = model.training
    model.eval()
    detections = collect_detections(predict_batch, dataset, recipe, device)
    model.train(was_training)
    return detections


def collect_detections(predict_batch, dataset, recipe, device):
    """What predict_batch(images, targets) finds on this process's share of a dataset, in pixels of
    the images as they are, by image number."""
    sizes = dataset.records.sizes
    batches = EvalBatches(sizes, recipe.batch, parallel.rank(), parallel.world_size())
    loader = build_loader(dataset, batches, recipe, device)
    hidden = True if parallel.rank() else None
    detections = {}
    for images, targets in tqdm(
        loader, desc="evaluating", leave=False, disable=hidden, dynamic_ncols=True
    ):
        images, targets = parallel.to_device(images, targets, device)
        for result, target in zip(predict_batch(images, targets), targets):
            index = target["index"]
            result = to_original(result, target["size"], sizes[index].tolist())
            detections[index] = {name: value.numpy() for name, value in result.items()}
    return detections


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


def table(evaluation, records):
    """An Evaluation with_errors as text: a line for each class, then the metrics of all."""
    per_class = evaluation.per_class
    counts = np.bincount(records.labels[~records.ignore], minlength=len(per_class))
    width = max(len(name) for name in [*per_class, "class"])
    columns = list(next(iter(per_class.values())))
    heads = [*columns, "score", "prec.", "recall"]
    lines = [f"{'class':{width}}  objects  " + "  ".join(f"{name:>6}" for name in heads)]
    for (name, values), count in zip(per_class.items(), counts):
        numbers = [values[column] for column in columns]
        numbers += evaluation.class_operations[name][:3]
        lines.append(f"{name:{width}}  {count:7}  " + "  ".join(map(number, numbers)))
    lines.append("")
    for i, (name, value) in enumerate(evaluation.metrics.items()):
        line = f"{name:10} {number(value)}"
        if i == 0 and evaluation.interval:
            low, high = evaluation.interval
            line += f"  (95 % of resampled image sets: {low:.3f} to {high:.3f})"
        lines.append(line)
    operation = evaluation.operation
    line = f"best F1    {number(operation.f1)}"
    if not math.isnan(operation.f1):
        line += (
            f"  at score {operation.threshold:.2f}: precision {operation.precision:.3f}, "
            f"recall {operation.recall:.3f} (IoU 0.5)"
        )
    lines += [line, "", *breakdown_lines(evaluation.breakdown)]
    lines += [textwrap.fill(f"advice: {sentence}", width=100) for sentence in evaluation.advice]
    return "\n".join(lines)


def number(value):
    return "   n/a" if math.isnan(value) else f"{value:6.3f}"


def conditions(dataset, split, recipe, device, iteration=None):
    """What was evaluated and how, by name: it is printed, and stored beside the results."""
    where = recipe.annotations or recipe.root or f"data/{recipe.dataset}"
    return dict(
        dataset=f"{recipe.dataset} {where}",
        split=split,
        images=len(dataset),
        objects=int((~dataset.records.ignore).sum()),
        classes=len(dataset.classes),
        notes=list(dataset.records.notes),
        metric=recipe.metric,
        score_threshold=recipe.score_threshold,
        nms_iou=recipe.nms_iou,
        max_detections=recipe.max_detections,
        precision=parallel.precision_of(recipe.precision, device),
        iteration=iteration,
    )
