"""Evaluation: a model's detections on a dataset, their metrics, and how certain these are."""

import math
import textwrap
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from data.dataset import eval_batches, padded_size
from data.reading import dataset_path
from data.text import some
from utils import parallel
from utils.build import build_loader
from utils.evaluation.errors import Errors, breakdown, breakdown_lines, find_errors
from utils.evaluation.metrics import average_precision, compute_metrics
from utils.predict import predict, to_original
from utils.stop import read_batches

BOOTSTRAP_ROUNDS = 200
MANY_IMAGES = 1000  # with more, a metric is certain enough, and resampling slow


class OperatingPoint(NamedTuple):
    """A score threshold, and how good the detections with at least this score are at an
    IoU of 0.5."""

    threshold: float
    precision: float
    recall: float
    f1: float


class Evaluation(NamedTuple):
    metrics: dict  # name -> value, the most important first
    per_class: dict  # class name -> its metrics
    interval: tuple  # (low, high) of the first metric, or None
    operating_point: OperatingPoint  # with the best F1 over all classes together
    class_operating_points: dict  # class name -> the same for this class alone
    detections: dict  # image number -> boxes, scores, labels
    # These are added by with_errors() and with_advice().
    errors: Errors = None  # what is wrong with each detection
    breakdown: dict = None  # AP50, and for each kind of error how many there are and what they cost
    advice: tuple = ()  # sentences

    @property
    def result(self):
        """The first metric, by which evaluations are compared; 0 where there is no object."""
        first = next(iter(self.metrics.values()))
        return 0.0 if math.isnan(first) else first

    def facts(self):
        """What a checkpoint stores of it: the metrics, and the score to show detections from."""
        threshold = self.operating_point.threshold
        return dict(
            metrics=self.metrics, show_threshold=None if math.isnan(threshold) else threshold
        )


def evaluate(model, dataset, recipe, device):
    """Evaluate a model on a dataset by the recipe's metric -> Evaluation.

    Several processes share the images, and all of them get the whole result.
    """
    parallel.copy_statistics_from_rank0(model)
    detections = parallel.gather_detections(lambda: detect_all(model, dataset, recipe, device))
    metrics, per_class, matches = compute_metrics(
        recipe.metric, dataset.classes, dataset.records, detections
    )
    points = best_operating_points(matches, recipe.score_threshold)
    return Evaluation(metrics, per_class, interval(matches, recipe.metric), *points, detections)


def with_errors(evaluation, dataset):
    """The same Evaluation with its errors.

    They take seconds on thousands of images, so evaluations while training do without.
    """
    errors = find_errors(dataset.records, evaluation.detections)
    return evaluation._replace(errors=errors, breakdown=breakdown(dataset.classes, errors))


def detect_all(model, dataset, recipe, device):
    """The model's detections on this process's share of a dataset: image number -> detections."""
    predict_batch = partial(predict, model, recipe=recipe)
    was_training = model.training
    model.eval()
    detections = collect_detections(predict_batch, dataset, recipe, device)
    model.train(was_training)
    return detections


def collect_detections(predict_batch, dataset, recipe, device):
    """The detections of predict_batch(images, targets) on this process's share of a dataset.

    Returns image number -> boxes, scores and labels as arrays, in pixels of the original image;
    those of the records' ignored_labels are left out.
    """
    sizes = dataset.records.sizes
    ignored_labels = dataset.records.ignored_labels
    resized = [dataset.output_size(0, index) for index in range(len(dataset))]
    padded = padded_size(resized, recipe.size_divisor, recipe.min_padding)
    # As many images at a time as in a part of a training's batch, which fits into the memory.
    rank, world_size = parallel.rank(), parallel.world_size()
    images_at_once = max(recipe.batch // (recipe.accumulate * world_size), 1)
    batches = eval_batches(padded, images_at_once, rank, world_size)
    loader = build_loader(dataset, batches, recipe, device)
    # With None, the first process shows the bar if a terminal is there.
    is_hidden = True if rank else None
    bar = tqdm(
        read_batches(loader, device, torch.preserve_format), "evaluating", len(loader),
        leave=False, disable=is_hidden, dynamic_ncols=True,
    )  # fmt: skip
    detections = {}
    for images, targets in bar:
        for result, target in zip(predict_batch(images, targets), targets):
            index = target["index"]
            result = to_original(result, target["size"], sizes[index].tolist())
            kept = ~np.isin(result["labels"], ignored_labels)
            detections[index] = {name: value.numpy()[kept] for name, value in result.items()}
    return detections


def best_operating_points(matches, score_threshold=0.0):
    """The OperatingPoint with the best F1 of all classes together, and class name -> its own.

    matches: class name -> Matches, whose first IoU threshold is 0.5. score_threshold:
    below it, no detection was kept.
    """
    columns = {
        name: (match.scores, match.hits[0], match.is_counted[0], match.num_objects)
        for name, match in matches.items()
    }
    together = [np.concatenate(parts) for parts in zip(*columns.values())]
    per_class = {name: best_f1(*values, score_threshold) for name, values in columns.items()}
    return best_f1(*together, score_threshold), per_class


def best_f1(scores, hits, is_counted, num_objects, score_threshold=0.0):
    """The OperatingPoint with the best F1; all nan if there is no object or no hit.

    hits and is_counted [D]: whether a detection is right, and whether it counts at all.
    num_objects: in each image. score_threshold: as in best_operating_points().
    """
    total = np.sum(num_objects)
    order = np.argsort(-scores[is_counted], kind="stable")
    scores = scores[is_counted][order]
    hits = hits[is_counted][order]
    if total == 0 or not hits.any():
        return OperatingPoint(math.nan, math.nan, math.nan, math.nan)
    true_positives = np.cumsum(hits)
    ranks = np.arange(1, len(hits) + 1)
    precision = true_positives / ranks
    recall = true_positives / total
    f1 = 2 * true_positives / (ranks + total)
    # Detections with equal scores pass a threshold together, so only the last of them can be the
    # lowest that passes.
    is_last = np.append(scores[1:] != scores[:-1], True)
    best = np.where(is_last, f1, -1).argmax()
    # Halfway to the next lower score, so that rounding moves no detection across the threshold.
    next_score = scores[best + 1] if best + 1 < len(scores) else score_threshold
    threshold = float(scores[best] + next_score) / 2
    return OperatingPoint(threshold, float(precision[best]), float(recall[best]), float(f1[best]))


def interval(matches, metric, seed=0):
    """The 95 % interval of a metric, as METRICS names it, over resampled images -> (low, high).

    matches: class name -> Matches. Efron's bootstrap: as many images are drawn as there are, with
    repetition, again and again; a difference within the interval may be chance. None for a single
    image and for very many.
    """
    num_images = len(next(iter(matches.values())).num_objects)
    if not 1 < num_images <= MANY_IMAGES:
        return None
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(BOOTSTRAP_ROUNDS):
        weights = np.bincount(rng.integers(num_images, size=num_images), minlength=num_images)
        precisions = [weighted_precision(match, weights, metric) for match in matches.values()]
        known = [value for value in precisions if not math.isnan(value)]
        if known:
            values.append(np.mean(known))
    if not values:
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def weighted_precision(matches, weights, metric):
    """The average precision of a class where image i counts weights[i] times; nan without objects.

    Over all IoU thresholds of the Matches.
    """
    num_objects = (matches.num_objects * weights).sum()
    weight = weights[matches.images]
    values = [
        average_precision(hits * weight, num_objects, metric, is_counted * weight)
        for hits, is_counted in zip(matches.hits, matches.is_counted)
    ]
    return float(np.mean(values))


def table(evaluation, records):
    """An Evaluation with its errors as text: classes, metrics, breakdown and advice."""
    per_class = evaluation.per_class
    counts = np.bincount(records.labels[~records.ignore], minlength=len(per_class))
    absent = [name for name, count in zip(per_class, counts) if not count]
    width = max(len(name) for name in [*per_class, "class"])
    columns = list(next(iter(per_class.values())))
    heads = [*columns, "score", "prec.", "recall"]
    lines = [f"{'class':{width}}  objects  " + "  ".join(f"{name:>6}" for name in heads)]
    for (name, values), count in zip(per_class.items(), counts):
        if name in absent:
            continue
        numbers = [values[column] for column in columns]
        numbers += evaluation.class_operating_points[name][:3]
        lines.append(f"{name:{width}}  {count:7}  " + "  ".join(map(number, numbers)))
    lines += [f"no objects of: {some(absent)}"] if absent else []
    lines.append("")
    for i, (name, value) in enumerate(evaluation.metrics.items()):
        # metrics.json has all of them.
        if i and (math.isnan(value) or name.startswith("AR")):
            continue
        line = f"{name:10} {number(value)}"
        if i == 0 and evaluation.interval:
            low, high = evaluation.interval
            line += f"  (95 % of resampled image sets: {low:.3f} to {high:.3f})"
        lines.append(line)
    point = evaluation.operating_point
    line = f"best F1    {number(point.f1)}"
    if not math.isnan(point.f1):
        line += (
            f"  at score {point.threshold:.2f}: precision {point.precision:.3f}, "
            f"recall {point.recall:.3f} (IoU 0.5)"
        )
    lines += [line, "", *breakdown_lines(evaluation.breakdown)]
    lines += [textwrap.fill(f"advice: {sentence}", width=100) for sentence in evaluation.advice]
    return "\n".join(lines)


def number(value):
    """A metric in six characters."""
    return "   n/a" if math.isnan(value) else f"{value:6.3f}"


def conditions(checkpoint, dataset, split, recipe, device, iteration=None):
    """What was evaluated and how, name -> value; it is printed, and stored with the results."""
    return dict(
        model=f"{recipe.model}-{recipe.depth}" if recipe.model == "retinanet" else recipe.model,
        checkpoint=str(checkpoint),
        dataset=f"{recipe.dataset} {dataset_path(recipe)}".removeprefix("auto "),
        split=split,
        images=len(dataset),
        objects=int((~dataset.records.ignore).sum()),
        classes=f"{len(dataset.classes)}: {some(dataset.classes)}",
        notes=list(dataset.records.notes),
        metric=recipe.metric,
        score_threshold=recipe.score_threshold,
        nms_iou=recipe.nms_iou,
        max_detections=recipe.max_detections,
        precision=str(parallel.precision_of(recipe.precision, device)).removeprefix("torch."),
        iteration=iteration,
    )
