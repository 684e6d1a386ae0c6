import numpy as np
import pytest

from tests.conftest import make_records
from tests.test_metrics import detected
from utils.evaluation.errors import (
    HIT,
    KINDS,
    WRONG_CLASS,
    breakdown,
    correct_errors,
    find_errors,
    group_ap50,
    object_groups,
)

NAMES = ("cat", "cow", "dog")


def scene(*errors, seed=0, images=60):
    """Records, and detections with errors of these kinds drawn by rule."""
    rng = np.random.default_rng(seed)
    truth, detections = [], {}
    for image in range(images):
        objects, found = [], []
        for column, row in np.ndindex(3, 2):
            side = rng.integers(30, 60)
            box = np.array([100 * column + 20, 100 * row + 20] * 2) + [0, 0, side, side]
            label = int(rng.integers(3))
            objects.append((*box.tolist(), NAMES[label]))
            score = rng.uniform(0.3, 1)
            error = errors[rng.integers(len(errors))] if errors else None
            error = error if rng.random() < 0.4 else None
            shift = side * np.array([0.45, 0, 0.45, 0])  # an IoU of 0.38
            if error == "missed":
                continue
            if error == "background":
                found.append((box + [35, 60, 35, 60], rng.integers(3), score))
            if error == "duplicate":
                found.append((box + 1, label, score))
            moved = box + shift if error in ("box", "both") else box
            other = (label + 1) % 3 if error in ("class", "both") else label
            found.append((moved, other, rng.uniform(0.2, 0.9)))
        truth.append(((220, 320), objects))
        detections[image] = dict(
            boxes=np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
            labels=np.array([label for _, label, _ in found], int),
            scores=np.array([score for _, _, score in found]),
        )
    return make_records(truth, NAMES), detections


def shares(*errors):
    """Counts and costs, in points of AP50, of a scene."""
    records, detections = scene(*errors)
    result = breakdown(NAMES, find_errors(records, detections))
    return result, {kind: 100 * cost for kind, cost in result["costs"].items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_kind_of_error_costs_all_that_is_missing(kind):
    result, costs = shares(kind)
    assert result["counts"][kind] > 50
    if kind == "both":  # the object below is missed as well
        assert result["counts"]["missed"] > 50 and costs["both"] > 1
        return
    assert costs[kind] == pytest.approx(100 * (1 - result["AP50"]), abs=1.5) and costs[kind] > 0.5
    assert all(costs[other] < 0.5 for other in KINDS if other != kind)


def test_no_error_costs_nothing():
    result, costs = shares()
    assert result["AP50"] == 1 and not any(costs.values()) and not any(result["counts"].values())


# What tidecv 1.0.1 computes of the same scenes: AP50, and what each kind costs.
TIDECV = {
    ("class",): (42.461, dict(zip(KINDS, (57.539, 0, 0, 0, 0, 0)))),
    ("both",): (42.461, dict(zip(KINDS, (0, 0, 20.576, 0, 0, 25.048)))),
    ("duplicate",): (87.235, dict(zip(KINDS, (0, 0, 0, 12.765, 0, 0)))),
    KINDS: (54.566, dict(zip(KINDS, (9.898, 8.497, 3.697, 2.460, 4.269, 8.002)))),
}


@pytest.mark.parametrize("errors", TIDECV, ids=lambda errors: " ".join(errors))
def test_costs_are_those_of_tidecv(errors):
    result, costs = shares(*errors)
    ap50, expected = TIDECV[errors]
    assert 100 * result["AP50"] == pytest.approx(ap50, abs=0.01)
    assert costs == pytest.approx(expected, abs=0.01)


def test_a_wrong_class_is_mended_once_for_an_object():
    records = make_records([((100, 100), [(0, 0, 40, 40, "cat"), (50, 50, 90, 90, "dog")])])
    boxes = np.array([[0, 0, 40, 40], [0, 0, 39, 40], [50, 50, 90, 90]], np.float32)
    found = dict(boxes=boxes, scores=np.array([0.9, 0.8, 0.7]), labels=np.array([1, 1, 1]))
    errors = find_errors(records, {0: found})
    better = correct_errors(errors, WRONG_CLASS)
    assert better.kinds.tolist() == [HIT, HIT] and better.labels[0] == 0


def test_what_lies_in_an_ignored_area_is_no_error():
    item = (0, 0, 50, 50, "cat", True)
    records = make_records([((100, 100), [item, (60, 60, 90, 90, "cat")])])
    boxes = np.array([[10, 10, 40, 40], [60, 60, 90, 90]], np.float32)
    found = dict(boxes=boxes, scores=np.array([0.9, 0.8]), labels=np.zeros(2, int))
    assert find_errors(records, {0: found}).kinds.tolist() == [HIT]


def test_empty_images_and_no_detections_at_all():
    records = make_records([((100, 100), []), ((100, 100), [(0, 0, 40, 40, "cat")])])
    nothing = dict(boxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, int))
    result = breakdown(["cat"], find_errors(records, {0: nothing, 1: nothing}))
    assert result["AP50"] == 0 and result["counts"]["missed"] == 1
    assert result["costs"]["missed"] == 0, "without objects there is no precision to compare"
    alarm = dict(boxes=np.ones((1, 4)) * [0, 0, 9, 9], scores=np.ones(1), labels=np.zeros(1, int))
    result = breakdown(["cat"], find_errors(records, {0: alarm}))
    assert result["counts"]["background"] == 1


def test_where_no_image_has_an_object_every_detection_is_a_false_alarm():
    records = make_records([((100, 100), [])], ["cat"])
    result = breakdown(["cat"], find_errors(records, {0: detected((0, 0, 9, 9, 0.9, 0))}))
    assert result["counts"]["background"] == 1 and np.isnan(result["AP50"])
    assert not any(result["costs"].values())


RECORDS = make_records(
    [
        ((100, 100), [(0, 0, 20, 20, "cat"), (50, 50, 90, 90, "dog")]),
        ((100, 100), [(10, 10, 70, 70, "cat"), (20, 20, 80, 80, "dog")]),
    ]
)
CLASSES = ["cat", "dog"]


def test_objects_are_grouped_by_size_and_by_overlap():
    groups = object_groups(RECORDS)
    assert [int(members.sum()) for members in groups.values()] == [2, 2, 0, 2, 2]
    assert groups["overlapping"].tolist() == [False, False, True, True]


def test_a_group_s_precision_is_of_its_objects_alone():
    detections = {0: detected((0, 0, 20, 20, 0.9, 0)), 1: detected((90, 90, 99, 99, 0.95, 0))}
    errors = find_errors(RECORDS, detections)
    small = np.array([True, False, False, False])
    assert group_ap50(CLASSES, errors, small) == pytest.approx(0.5), "one false alarm"
    assert group_ap50(CLASSES, errors, ~small) == 0
