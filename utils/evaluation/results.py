"""The files that an evaluation leaves: detections, metrics, pictures, and a page with all of it."""

import html
import json

from utils import draw
from utils.draw import embedded
from utils.evaluation.evaluate import table
from utils.evaluation.pictures import draw_quality, mistake_sheet, prediction_sheet
from utils.files import write
from utils.predict import coco_rows

RESULTS = (
    "detections.json", "metrics.json", "predictions.jpg", "quality.png", "mistakes.jpg",
    "report.html",
)  # fmt: skip
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
    numbers["operating_point"] = evaluation.operating_point._asdict()
    numbers["class_operating_points"] = {
        name: own._asdict() for name, own in evaluation.class_operating_points.items()
    }
    metrics = json.dumps(described | numbers, indent=1)
    threshold = evaluation.operating_point.threshold
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
