"""The files that an evaluation leaves: detections, metrics, pictures, and a page with all of it."""

import html
import json

import numpy as np

from data.dataset import Dataset
from utils import checkpoint, draw, parallel
from utils.draw import embedded
from utils.evaluation.advice import with_advice
from utils.evaluation.evaluate import conditions, evaluate, table, with_errors
from utils.evaluation.pictures import draw_quality, mistake_sheet, prediction_sheet
from utils.files import write
from utils.log import append_entry
from utils.predict import coco_rows

RESULTS = (
    "detections.json", "metrics.json", "predictions.jpg", "quality.png", "mistakes.jpg",
    "report.html",
)  # fmt: skip
MAX_TRAINING_IMAGES = 500  # that are evaluated
PICTURES = {
    "curves.png": "The training",
    "quality.png": "How good it is",
    "mistakes.jpg": "The worst mistakes: sure of nothing, wrong class, poor box, missed",
    "predictions.jpg": "Detections (coloured) and the truth (white)",
}
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1300px; margin: 2em auto; padding: 0 1em; }
pre { overflow-x: auto; font-size: 13px; }
img { max-width: 100%; height: auto; }
td { padding-right: 1em; vertical-align: top; }
"""


def coco_format(dataset, detections):
    """Detections as COCO's result file, with the dataset's own image and category ids."""
    records, results = dataset.records, []
    for image, image_detections in detections.items():
        results += coco_rows(records.image_id(image), records.category_ids, image_detections)
    return results


def save_results(folder, dataset, evaluation, described, replace=False):
    """Detections, metrics, pictures and a page with them -> paths; mistakes.jpg if there are any.

    replace: the folder is a run's, and they may be its own, older ones.
    """
    results = json.dumps(coco_format(dataset, evaluation.detections))
    numbers = evaluation._asdict()
    del numbers["detections"], numbers["errors"]
    numbers["operation"] = evaluation.operation._asdict()
    numbers["class_operations"] = {
        name: own._asdict() for name, own in evaluation.class_operations.items()
    }
    metrics = json.dumps(described | numbers, indent=1)
    threshold = evaluation.operation.threshold
    sheet = prediction_sheet(dataset, evaluation.detections, threshold)
    write(folder / "detections.json", results, replace)
    write(folder / "metrics.json", metrics.replace("NaN", "null"), replace)
    draw.save_picture(folder / "predictions.jpg", sheet, replace)
    mistakes = mistake_sheet(dataset, evaluation.detections, evaluation.errors)
    if mistakes is not None:
        draw.save_picture(folder / "mistakes.jpg", mistakes, replace)
    quality, errors = folder / "quality.png", evaluation.errors
    draw_quality(quality, dataset.classes, dataset.records, errors, threshold)
    text = table(evaluation, dataset.records)
    write(folder / "report.html", report(described, text, folder), replace)
    return [folder / name for name in RESULTS if (folder / name).exists()]


def report(described, text, folder):
    """The page: what was evaluated, the table as text, and those PICTURES that the folder has."""
    rows = "".join(
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(str(value))}</td></tr>"
        for name, value in described.items()
        if value not in ([], None)
    )
    found = {folder / name: title for name, title in PICTURES.items() if (folder / name).exists()}
    pictures = "".join(
        f"<h2>{title}</h2><img alt='{title}' src='{embedded(path.read_bytes(), path.suffix)}'>"
        for path, title in found.items()
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>Evaluation</title><style>{STYLE}</style><h1>Evaluation</h1>"
        f"<table>{rows}</table><pre>{html.escape(text)}</pre>{pictures}</html>"
    )


def report_training(recipe, folder, device, train_dataset, val_dataset, evaluation=None):
    """Print and save what a run has reached.

    evaluation is that of best.pth, or None where it has to be evaluated again.
    """
    best, last = folder / "best.pth", folder / "last.pth"
    with parallel.rank0_first():
        # The first process has written it by now.
        has_best = best.exists()
    if val_dataset is not None and has_best:
        report_best(recipe, folder, device, train_dataset, val_dataset, evaluation)
    print(f"curves       {folder / 'curves.png'}")
    print(f"checkpoint   {best if has_best else last}")


def report_best(recipe, folder, device, train_dataset, val_dataset, evaluation):
    """Print what best.pth reaches, with advice, and save it in the run's folder."""
    path, log_path = folder / "best.pth", folder / "log.jsonl"
    detector = checkpoint.build_model(checkpoint.load(path), path)
    model, iteration = detector.model.to(device), detector.iteration
    if evaluation is None:
        evaluation = evaluate(model, val_dataset, recipe, device)
    subset = evenly_spaced(train_dataset, val_dataset, MAX_TRAINING_IMAGES)
    train_evaluation = with_errors(evaluate(model, subset, recipe, device), subset)
    if parallel.rank() > 0:
        return
    # How good a detector is on what it has seen tells whether it has seen too little, or too often.
    train_AP50 = train_evaluation.breakdown["AP50"]
    passes = iteration * recipe.batch / len(train_dataset)
    append_entry(log_path, dict(iteration=iteration, train_AP50=train_AP50, passes=passes))
    evaluation = with_advice(evaluation, val_dataset, recipe, log_path, (subset, train_evaluation))
    print(table(evaluation, val_dataset.records), "", sep="\n")
    described = conditions(val_dataset, "val", recipe, device, iteration)
    for path in save_results(folder, val_dataset, evaluation, described, replace=True):
        print(f"{path.stem:12} {path}")


def evenly_spaced(train_dataset, val_dataset, most):
    """As many training images as there are to validate on, seen as those are -> Dataset."""
    count = min(len(train_dataset), len(val_dataset), most)
    chosen = np.linspace(0, len(train_dataset) - 1, count).round().astype(int)
    records = train_dataset.records.subset(chosen)
    return Dataset(val_dataset.classes, records, val_dataset.transform, val_dataset.seed)
