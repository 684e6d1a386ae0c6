import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.conftest import make_records, write_coco
from tests.test_metrics import detected
from utils.build import eval_dataset
from utils.evaluation.evaluate import (
    best_f1,
    best_operating_points,
    collect_detections,
    evaluate,
    interval,
    weighted_precision,
)
from utils.evaluation.metrics import (
    METRICS,
    coco_metrics,
    compute_metrics,
    match_detections,
)
from utils.recipe import Recipe


def mask(text):
    return np.array([letter == "x" for letter in text], bool)


def test_the_threshold_lies_behind_the_detection_with_the_best_f1():
    # Hits, most certain first: F1 is 2/5, 4/6, 4/7, 6/8, 6/9 of 4 objects.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.2])
    found = best_f1(scores, mask("xx.x."), mask("xxxxx"), num_objects=4)
    assert found.threshold == pytest.approx(0.4)
    assert (found.precision, found.recall) == (0.75, 0.75) and found.f1 == pytest.approx(0.75)


def test_below_the_last_detection_the_threshold_stays_where_there_are_detections():
    found = best_f1(np.array([0.9, 0.06]), mask("xx"), mask("xx"), 2, score_threshold=0.05)
    assert found.threshold == pytest.approx(0.055)


def test_no_score_is_shown_that_is_not_evaluated(monkeypatch):
    monkeypatch.setattr("utils.evaluation.evaluate.detect_all", lambda *_: found_in(10))
    dataset = SimpleNamespace(classes=["a", "b"], records=RECORDS)
    found = evaluate(torch.nn.Identity(), dataset, Recipe(score_threshold=0.3), None)
    # Halfway between the lowest score of a detection, 0.8, and the lowest that is looked at.
    assert found.operating_point.threshold == pytest.approx(0.55)


def test_equal_scores_pass_together():
    scores = np.array([0.9, 0.5, 0.5])
    found = best_f1(scores, mask("xx."), mask("xxx"), num_objects=2)
    # The second hit is not to be had without the false one beside it: 2 of 3 are right.
    assert found.f1 == pytest.approx(0.8) and found.threshold == pytest.approx(0.25)


def test_detections_of_objects_to_ignore_do_not_count():
    scores = np.array([0.9, 0.8])
    assert best_f1(scores, mask(".x"), mask(".x"), num_objects=1).precision == 1


@pytest.mark.parametrize("hits, objects", (("..", 3), ("..", 0), ("", 2)))
def test_without_a_hit_there_is_no_threshold(hits, objects):
    scores = np.linspace(0.9, 0.8, len(hits))
    assert math.isnan(best_f1(scores, mask(hits), mask("x" * len(hits)), objects).threshold)


RECORDS = make_records([((100, 100), [(0, 0, 40, 40, "a"), (50, 50, 90, 90, "b")])] * 10)


def found_in(count):
    """Both objects in the first images, in the others a false alarm."""
    right = detected((0, 0, 40, 40, 0.9, 0), (50, 50, 90, 90, 0.8, 1))
    return {i: right if i < count else detected((60, 0, 90, 30, 0.7, 0)) for i in range(10)}


def test_every_class_has_its_own_threshold_and_all_have_one():
    point, per_class = best_operating_points(match_detections(["a", "b"], RECORDS, found_in(6)))
    assert per_class["a"].threshold > 0.7 and per_class["b"].threshold == pytest.approx(0.4)
    assert per_class["b"].recall == 0.6 and point.recall == 0.6 and point.precision == 1


def test_the_interval_holds_the_metric_and_shrinks_with_more_images():
    metrics, _, matches = coco_metrics(["a", "b"], RECORDS, found_in(6))
    low, high = interval(matches, "coco")
    assert low < metrics["AP"] < high and high - low > 0.3
    many = make_records([((100, 100), [(0, 0, 40, 40, "a"), (50, 50, 90, 90, "b")])] * 300)
    found = {i: found_in(6)[i % 10] for i in range(300)}
    low, high = interval(coco_metrics(["a", "b"], many, found)[2], "coco")
    assert high - low < 0.15


def test_certain_detections_have_no_spread_and_many_images_no_interval():
    _, _, matches = coco_metrics(["a", "b"], RECORDS, found_in(10))
    assert interval(matches, "coco") == pytest.approx((1, 1))
    large = {name: match._replace(num_objects=np.ones(1001)) for name, match in matches.items()}
    assert interval(large, "coco") is None


@pytest.mark.parametrize("metric", METRICS)
def test_equal_weights_are_the_metric_itself(metric):
    _, per_class, matches = compute_metrics(metric, ["a", "b"], RECORDS, found_in(6))
    for name, match in matches.items():
        precision = weighted_precision(match, np.ones(10, int), metric)
        assert precision == pytest.approx(next(iter(per_class[name].values())), abs=1e-12)


def test_the_interval_is_of_the_metric_that_it_stands_behind(monkeypatch):
    monkeypatch.setattr("utils.evaluation.evaluate.detect_all", lambda *_: found_in(7))
    dataset = SimpleNamespace(classes=["a", "b"], records=RECORDS)
    recipes = [Recipe(metric=metric) for metric in METRICS]
    results = [evaluate(torch.nn.Identity(), dataset, recipe, None) for recipe in recipes]
    assert all(result.interval[0] < result.result < result.interval[1] for result in results)
    coco, points, area = (result.interval[0] for result in results)
    # The fewer the recalls, the more the one at zero, where precision is 1, counts among them.
    assert area < coco < points


@pytest.mark.parametrize("asked, labels", ((("cat",), [0]), ((), [0, 1])))
def test_detections_of_classes_that_the_images_are_not_annotated_with_are_left_out(
    tmp_path, asked, labels
):
    """By default, the dataset's own classes are evaluated, also those without any object."""
    write_coco(tmp_path, [[(1, 2, 30, 40, 0)]] * 2)
    recipe = Recipe(dataset="coco", root=str(tmp_path), classes=asked, workers=0)
    dataset = eval_dataset(recipe, "all", ["cat", "dog", "cow"])
    boxes = torch.tensor([[0.0, 0, 20, 20]] * 3)
    found = dict(boxes=boxes, scores=torch.ones(3), labels=torch.arange(3))
    cpu = torch.device("cpu")
    detections = collect_detections(lambda images, _: [found] * len(images), dataset, recipe, cpu)
    assert [result["labels"].tolist() for result in detections.values()] == [labels] * 2


def test_an_evaluation_takes_no_more_images_at_a_time_than_the_training(tmp_path):
    write_coco(tmp_path, [[(1, 2, 30, 40, 0)]] * 6)
    recipe = Recipe(dataset="coco", root=str(tmp_path), workers=0, batch=8, accumulate=4)
    sizes = []

    def predict(images, targets):
        sizes.append(len(images))
        found = dict(boxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0))
        return [found] * len(images)

    dataset = eval_dataset(recipe, "all", ["cat", "dog"])
    collect_detections(predict, dataset, recipe, torch.device("cpu"))
    assert sizes == [2, 2, 2]


def test_a_weight_of_two_is_the_image_twice():
    match = match_detections(["a", "b"], RECORDS, found_in(7))["a"]
    weights = np.array([2] + [1] * 8 + [0])
    twice = np.concatenate([[0], np.arange(9)])
    records = RECORDS.subset(twice)
    found = {i: found_in(7)[j] for i, j in enumerate(twice.tolist())}
    again = match_detections(["a", "b"], records, found)["a"]
    for metric, value in dict(coco=81 / 101, voc07=9 / 11, voc12=0.8).items():
        precision = weighted_precision(match, weights, metric)
        assert precision == weighted_precision(again, np.ones(10, int), metric)
        assert precision == pytest.approx(value)
