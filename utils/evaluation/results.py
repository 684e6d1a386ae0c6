"""The files that an evaluation leaves: detections, metrics, pictures, and a page with all of it."""

import html
import json
import math
import shlex
import sys
import time

import numpy as np

from data.dataset import Dataset
from utils import checkpoint, draw, parallel
from utils.evaluation.advice import with_advice
from utils.evaluation.errors import HIT
from utils.evaluation.evaluate import conditions, evaluate, table, with_errors
from utils.evaluation.pictures import (
    draw_quality,
    mistake_sheet,
    prediction_sheet,
    threshold_or_half,
)
from utils.files import csv_text, mark_as_own, write
from utils.log import append_entry, read_log
from utils.predict import coco_rows, distinct_ids

RESULTS = (
    "detections.json", "metrics.json", "predictions.jpg", "quality.png", "mistakes.jpg",
    "report.html", "per_image.csv",
)  # fmt: skip
MAX_TRAINING_IMAGES = 500  # that are evaluated
# The pictures of the page, with their titles. curves.png is there after training only.
PICTURES = {
    "curves.png": "Training",
    "quality.png": "How good it is",
    "mistakes.jpg": "The worst mistakes: false alarms, wrong classes, poor boxes, missed objects",
    "predictions.jpg": "Detections (coloured) and the truth (white)",
}
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1300px; margin: 2em auto; padding: 0 1em; }
pre, div { overflow-x: auto; font-size: 13px; }
img { min-width: 800px; max-width: 100%; }
td { padding-right: 1em; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { white-space: nowrap; }
"""


def save_results(folder, dataset, evaluation, described, replace=False):
    """Write the RESULTS of an evaluation into a folder -> their paths.

    described: what was evaluated and how, name -> value. replace: the folder is that of a run, and
    its older results are overwritten. Without mistakes there is no mistakes.jpg.
    """
    mark_as_own(folder)
    detections = evaluation.detections
    threshold = evaluation.operating_point.threshold
    records = dataset.records
    rows = detection_rows(records, detections)
    # Detections have a file of their own, and errors are only shown.
    values = evaluation._asdict()
    del values["detections"], values["errors"]
    metrics = json.dumps(json_value(described | values), indent=1)
    sheet = prediction_sheet(dataset, detections, threshold)
    mistakes = mistake_sheet(dataset, detections, evaluation.errors)

    write(folder / "detections.json", json.dumps(rows), replace)
    write(folder / "metrics.json", metrics, replace)
    write(folder / "per_image.csv", image_table(records, evaluation.errors, threshold), replace)
    draw.save_picture(folder / "predictions.jpg", sheet, replace)
    if mistakes is not None:
        draw.save_picture(folder / "mistakes.jpg", mistakes, replace)
    elif replace:
        # An older one would stay.
        (folder / "mistakes.jpg").unlink(missing_ok=True)
    quality = folder / "quality.png"
    draw_quality(quality, dataset.classes, records, evaluation.errors, threshold)
    # Of the files, only the page for people says when it was written.
    command = shlex.join(["python", *sys.argv])
    described = described | dict(date=time.strftime("%Y-%m-%d %H:%M"), command=command)
    page = report_page(described, table(evaluation, records), folder)
    write(folder / "report.html", page, replace)
    return [folder / name for name in RESULTS if (folder / name).exists()]


def detection_rows(records, detections):
    """All detections in COCO's result format: a dict for each."""
    paths = [records.path(i) for i in range(len(records))]
    ids = distinct_ids(records.image_ids.tolist(), paths)
    return [
        row
        for image, image_detections in detections.items()
        for row in coco_rows(ids[image], records.category_ids, image_detections)
    ]


def json_value(value):
    """A value as JSON can hold it: named tuples as dicts, and None in place of nan."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: json_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def report_page(described, text, folder):
    """An HTML page of what was evaluated, the table as text, and the folder's PICTURES."""
    texts = {
        name: "; ".join(value) if isinstance(value, list) else str(value)
        for name, value in described.items()
        if value not in ([], None)
    }
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>"
        for name, text in texts.items()
    )
    title = html.escape(f"{described.get('model')} on {described.get('dataset')}")
    paths = {title: folder / name for name, title in PICTURES.items() if (folder / name).exists()}
    # The pictures stand in the page itself, so that it can be sent as a single file.
    sources = {name: draw.embedded(path.read_bytes(), path.suffix) for name, path in paths.items()}
    pictures = "".join(
        f"<h2>{name}</h2><div><img alt='{name}' src='{source}'></div>"
        for name, source in sources.items()
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
        f"<table>{rows}</table><pre>{html.escape(text)}</pre>{pictures}</html>"
    )


def image_table(records, errors, threshold):
    """How many detections of each image are right and wrong, from a score on, and how many objects
    are missed, as the text of a csv file."""
    is_shown = errors.scores >= threshold_or_half(threshold)
    is_hit = errors.kinds == HIT
    count = len(records)
    hits, wrong = (
        np.bincount(errors.images[is_shown & chosen], minlength=count)
        for chosen in (is_hit, ~is_hit)
    )
    image_of_object = np.repeat(np.arange(count), np.diff(records.offsets))
    objects = np.bincount(image_of_object[~records.ignore], minlength=count)
    rows = [(records.path(i), hits[i], wrong[i], objects[i] - hits[i]) for i in range(count)]
    return csv_text([("image", "true", "false", "missed"), *rows])


def report_training(recipe, folder, device, train_dataset, val_dataset, evaluation=None):
    """Print what a run has reached, and save the results of best.pth in its folder.

    evaluation: that of best.pth, or None if it has to be evaluated again.
    """
    path = folder / "best.pth"
    with parallel.rank0_first():
        # The first process has written it by now; there is none if no evaluation ever ended.
        path = path if val_dataset is not None and path.exists() else folder / "last.pth"
    if val_dataset is not None:
        report_best(path, recipe, folder, device, train_dataset, val_dataset, evaluation)
    print(f"curves       {folder / 'curves.png'}")
    print(f"checkpoint   {path}")


def report_best(path, recipe, folder, device, train_dataset, val_dataset, evaluation):
    """Evaluate a run's best checkpoint, also on training images, and print and save the results
    with advice."""
    log_path = folder / "log.jsonl"
    detector = checkpoint.build_model(checkpoint.load(path), path)
    model = detector.model.to(device)
    iteration = detector.iteration
    if evaluation is None:
        evaluation = evaluate(model, val_dataset, recipe, device)
    subset = evenly_spaced(train_dataset, val_dataset, MAX_TRAINING_IMAGES)
    train_evaluation = with_errors(evaluate(model, subset, recipe, device), subset)
    if parallel.rank() > 0:
        return
    # AP50 on images that it was trained with shows whether it was trained too little or too long.
    train_AP50 = train_evaluation.breakdown["AP50"]
    passes = iteration * recipe.batch / len(train_dataset)
    entry = dict(iteration=iteration, train_AP50=train_AP50, passes=passes)
    # A run that ended before it had written its results comes here again.
    if entry not in read_log(log_path):
        append_entry(log_path, entry)
    evaluation = with_advice(evaluation, val_dataset, recipe, log_path, (subset, train_evaluation))
    print("", table(evaluation, val_dataset.records), "", sep="\n")
    described = conditions(path, val_dataset, "val", recipe, device, iteration)
    for path in save_results(folder, val_dataset, evaluation, described, replace=True):
        print(f"{path.stem:12} {path}")


def evenly_spaced(train_dataset, val_dataset, most):
    """Some training images with the transform of val_dataset, as many as it has -> Dataset.

    There are no more than most, and they come from all parts of the training images.
    """
    count = min(len(train_dataset), len(val_dataset), most)
    chosen = np.linspace(0, len(train_dataset) - 1, count).round().astype(int)
    records = train_dataset.records.subset(chosen)
    return Dataset(val_dataset.classes, records, val_dataset.transform, val_dataset.seed)
