"""Evaluation: a model's detections on a dataset, and their metrics."""

import math
import textwrap
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data.batch import EvalBatches
from utils import parallel
from utils.build import build_loader
from utils.evaluation.breakdown import Explained, breakdown, breakdown_lines, explain
from utils.evaluation.certainty import Operation, best_operation, interval
from utils.evaluation.metrics import compute_metrics
from utils.predict import predict, to_original


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
    explained: Explained = None  # what is wrong with each detection
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
    explained = explain(dataset.records, evaluation.detections)
    return evaluation._replace(explained=explained, breakdown=breakdown(dataset.classes, explained))


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
