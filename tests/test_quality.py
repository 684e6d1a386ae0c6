import math

import numpy as np
import pytest

from tests.conftest import make_records
from tests.test_breakdown import NAMES, scene
from tests.test_mistakes import found
from utils.evaluation import quality
from utils.evaluation.breakdown import explain

RECORDS = make_records(
    [
        ((100, 100), [(0, 0, 20, 20, "cat"), (50, 50, 90, 90, "dog")]),
        ((100, 100), [(10, 10, 70, 70, "cat"), (20, 20, 80, 80, "dog")]),
    ]
)
CLASSES = ["cat", "dog"]


def test_the_confusion_matrix_counts_hits_wrong_classes_alarms_and_misses():
    detections = {
        0: found((0, 0, 20, 20, 0.9, 1), (50, 50, 90, 90, 0.8, 1), (0, 60, 20, 80, 0.7, 0)),
        1: found((10, 10, 70, 70, 0.9, 0), (0, 0, 5, 5, 0.1, 0)),
    }
    matrix = quality.confusion_matrix(2, explain(RECORDS, detections), threshold=0.5)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_precision_and_recall_of_known_detections():
    hits = (0, 0, 20, 20, 0.9, 0), (50, 50, 90, 90, 0.7, 1)
    detections = {0: found(*hits, (0, 60, 9, 80, 0.8, 0))}
    precision, recall = quality.precision_recall(explain(RECORDS, detections))
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [1 / 4, 1 / 4, 2 / 4])


def test_objects_are_grouped_by_size_and_by_overlap():
    groups = quality.object_groups(RECORDS)
    assert [int(members.sum()) for members in groups.values()] == [2, 2, 0, 2, 2]
    assert groups["overlapping"].tolist() == [False, False, True, True]


def test_a_group_s_precision_is_of_its_objects_alone():
    detections = {0: found((0, 0, 20, 20, 0.9, 0)), 1: found((90, 90, 99, 99, 0.95, 0))}
    explained = explain(RECORDS, detections)
    small = np.array([True, False, False, False])
    assert quality.group_ap50(CLASSES, explained, small) == pytest.approx(0.5), "one false alarm"
    assert quality.group_ap50(CLASSES, explained, ~small) == 0


@pytest.mark.parametrize("empty", (False, True))
def test_the_picture_is_drawn_of_any_detections(tmp_path, empty):
    records, detections = scene("class", "missed", images=5)
    if empty:
        detections = {}
    threshold = math.nan if empty else 0.4
    explained = explain(records, detections)
    quality.draw_quality(tmp_path / "a.png", NAMES, records, explained, threshold)
    assert (tmp_path / "a.png").stat().st_size > 10_000
