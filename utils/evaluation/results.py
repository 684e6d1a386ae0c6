"""The files that an evaluation leaves: detections, metrics, pictures, and a page with all of it."""

import html
import json

from utils import draw
from utils.evaluation.evaluate import table
from utils.evaluation.pictures import draw_quality, mistake_sheet, prediction_sheet
from utils.files import write
from utils.predict import coco_rows

RESULTS = (
    "detections.json", "metrics.json", "predictions.jpg", "quality.png", "mistakes.jpg",
    "report.html",
)  # fmt: skip
# The pictures of the page, with their titles. curves.png is there after a training only.
PICTURES = {
    "curves.png": "The training",
    "quality.png": "How good it is",
    "mistakes.jpg": "The worst mistakes: false alarms, wrong classes, poor boxes, missed objects",
    "predictions.jpg": "Detections (coloured) and the truth (white)",
}
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1300px; margin: 2em auto; padding: 0 1em; }
pre { overflow-x: auto; font-size: 13px; }
img { max-width: 100%; height: auto; }
td { padding-right: 1em; vertical-align: top; }
"""


def save_results(folder, dataset, evaluation, described, replace=False):
    """Write the RESULTS of an evaluation into a folder -> their paths.

    described: what was evaluated and how, name -> value. replace: the folder is that of a run, and
    its older results are overwritten. Without mistakes there is no mistakes.jpg.
    """
    detections = evaluation.detections
    threshold = evaluation.operating_point.threshold
    results = json.dumps(coco_format(dataset, detections))
    metrics = json.dumps(described | plain_values(evaluation), indent=1)
    sheet = prediction_sheet(dataset, detections, threshold)
    mistakes = mistake_sheet(dataset, detections, evaluation.errors)

    write(folder / "detections.json", results, replace)
    write(folder / "metrics.json", metrics.replace("NaN", "null"), replace)
    draw.save_picture(folder / "predictions.jpg", sheet, replace)
    if mistakes is not None:
        draw.save_picture(folder / "mistakes.jpg", mistakes, replace)
    quality = folder / "quality.png"
    draw_quality(quality, dataset.classes, dataset.records, evaluation.errors, threshold)
    page = report_page(described, table(evaluation, dataset.records), folder)
    write(folder / "report.html", page, replace)
    return [folder / name for name in RESULTS if (folder / name).exists()]


def coco_format(dataset, detections):
    """Detections in COCO's result format, with the dataset's own image and category ids."""
    records = dataset.records
    results = []
    for image, image_detections in detections.items():
        results += coco_rows(records.image_id(image), records.category_ids, image_detections)
    return results


def plain_values(evaluation):
    """The fields of an Evaluation that metrics.json holds, as dicts and lists."""
    values = evaluation._asdict()
    # Detections have a file of their own, and errors are only shown.
    del values["detections"], values["errors"]
    values["operating_point"] = evaluation.operating_point._asdict()
    values["class_operating_points"] = {
        name: point._asdict() for name, point in evaluation.class_operating_points.items()
    }
    return values


def report_page(described, text, folder):
    """An HTML page of what was evaluated, the table as text, and the folder's PICTURES."""
    rows = "".join(
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(str(value))}</td></tr>"
        for name, value in described.items()
        if value not in ([], None)
    )
    paths = {folder / name: title for name, title in PICTURES.items() if (folder / name).exists()}
    # The pictures stand in the page itself, so that it can be sent as a single file.
    pictures = "".join(
        f"<h2>{title}</h2><img alt='{title}' src='{draw.embedded(path.read_bytes(), path.suffix)}'>"
        for path, title in paths.items()
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>Evaluation</title><style>{STYLE}</style><h1>Evaluation</h1>"
        f"<table>{rows}</table><pre>{html.escape(text)}</pre>{pictures}</html>"
    )
