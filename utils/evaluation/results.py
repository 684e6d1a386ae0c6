"""The files that an evaluation leaves: detections, metrics, and pictures of both."""

import json

from utils import draw
from utils.evaluation.detection_files import coco_rows
from utils.evaluation.evaluate import table
from utils.evaluation.pictures import draw_quality, mistake_sheet, prediction_sheet
from utils.evaluation.report import report
from utils.files import write

RESULTS = (
    "detections.json", "metrics.json", "predictions.jpg", "quality.png", "mistakes.jpg",
    "report.html",
)  # fmt: skip


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
    del numbers["detections"], numbers["explained"]
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
    mistakes = mistake_sheet(dataset, evaluation.detections, evaluation.explained)
    if mistakes is not None:
        draw.save_picture(folder / "mistakes.jpg", mistakes, replace)
    quality, explained = folder / "quality.png", evaluation.explained
    draw_quality(quality, dataset.classes, dataset.records, explained, threshold)
    text = table(evaluation, dataset.records)
    write(folder / "report.html", report(described, text, folder), replace)
    return [folder / name for name in RESULTS if (folder / name).exists()]
