import base64
import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np

from tests.conftest import make_records
from tests.test_metrics import detected
from tests.test_pictures import dataset_of
from utils.evaluation import results
from utils.evaluation.errors import find_errors
from utils.evaluation.evaluate import (
    Evaluation,
    OperatingPoint,
    best_operating_points,
    with_errors,
)
from utils.evaluation.metrics import compute_metrics
from utils.evaluation.results import detection_rows, image_table, json_value, report_page


def test_what_is_not_a_number_is_null_and_a_name_stays_as_it_is():
    point = OperatingPoint(math.nan, 0.5, 0.5, 0.5)
    values = dict(per_class={"NaN": dict(AP=math.nan)}, point=point, notes=["NaN"])
    assert json.loads(json.dumps(json_value(values))) == dict(
        per_class={"NaN": dict(AP=None)},
        point=dict(threshold=None, precision=0.5, recall=0.5, f1=0.5),
        notes=["NaN"],
    )


def test_a_page_holds_the_conditions_the_table_and_the_pictures(tmp_path):
    (tmp_path / "quality.png").write_bytes(b"picture")
    described = dict(model="ssd300", dataset="<a>", notes=["one", "two"], iteration=None)
    page = report_page(described, "AP  0.5 <b>", tmp_path)
    assert "<h1>ssd300 on &lt;a&gt;</h1>" in page and "one; two" in page
    assert "iteration" not in page and "AP  0.5 &lt;b&gt;" in page
    [content] = re.findall(r"data:image/png;base64,([^']+)'", page)
    assert base64.b64decode(content) == b"picture"
    assert "http" not in page, "nothing is fetched from elsewhere"


def test_a_picture_that_is_not_there_is_left_out(tmp_path):
    assert "<img" not in report_page({}, "", tmp_path)


def test_images_of_several_splits_with_one_id_are_told_apart_by_their_paths():
    records = make_records([((9, 9), [(0, 0, 5, 5, "a")])] * 3)
    records = replace(records, image_ids=np.array([7, 7, 8]))
    detections = {i: detected((0, 0, 5, 5, 0.5, 0)) for i in range(3)}
    ids = [row["image_id"] for row in detection_rows(records, detections)]
    assert ids == [records.path(0), records.path(1), 8]


def test_true_false_and_missed_are_counted_for_each_image_from_the_score_on():
    cat, dog = (0, 0, 40, 40, "cat"), (50, 50, 90, 90, "dog")
    records = make_records([((100, 100), [cat, dog]), ((100, 100), [])], ["cat", "dog"])
    found = {0: detected((0, 0, 40, 40, 0.9, 0), (50, 50, 90, 90, 0.3, 1)), 1: detected()}
    found[1] = detected((0, 0, 9, 9, 0.8, 0))
    rows = list(csv.DictReader(io.StringIO(image_table(records, find_errors(records, found), 0.5))))
    counts = [[int(row[name]) for name in ("true", "false", "missed")] for row in rows]
    assert counts == [[1, 0, 1], [0, 1, 0]] and rows[0]["image"] == "folder/0.jpg"


def test_without_validation_the_checkpoint_of_a_run_is_its_last(tmp_path, capsys):
    (tmp_path / "best.pth").touch()
    results.report_training(None, tmp_path, None, None, None)
    assert f"checkpoint   {tmp_path / 'last.pth'}" in capsys.readouterr().out


def test_the_mistakes_of_an_older_result_do_not_stay(tmp_path):
    (tmp_path / "mistakes.jpg").write_bytes(b"older")
    dataset = dataset_of(tmp_path / "data")
    found = {
        0: detected((5, 5, 25, 25, 0.9, 0), (50, 20, 80, 50, 0.9, 1)),
        1: detected((10, 10, 50, 50, 0.9, 0)),
        2: detected(),
    }
    metrics, per_class, matches = compute_metrics("coco", dataset.classes, dataset.records, found)
    evaluation = Evaluation(metrics, per_class, None, *best_operating_points(matches), found)
    evaluation = with_errors(evaluation, dataset)
    results.save_results(tmp_path, dataset, evaluation, {}, replace=True)
    assert not (tmp_path / "mistakes.jpg").exists()
