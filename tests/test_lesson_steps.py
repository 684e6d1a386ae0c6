"""The detector in six scripts: they run, differ little, and compute what layers/ computes."""

import ast
import difflib
import importlib
import math
import re

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from data.shapes import CLASSES
from layers import boxes as layers_boxes
from layers import losses, matching
from lesson.steps import step4_hard_negatives, step6_pyramid
from lesson.text import README, fill_differences
from tests.conftest import ROOT, make_records
from utils.evaluation.metrics import coco_metrics, voc_metrics

PATHS = sorted((ROOT / "lesson/steps").glob("step*.py"))


def some_boxes(count, side=90):
    top_left = torch.rand(count, 2) * side * 0.6
    return torch.cat([top_left, top_left + 4 + torch.rand(count, 2) * side * 0.3], dim=1)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_step_imports_nothing_of_ours_but_the_shapes(path):
    tree = ast.parse(path.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    others = {"sys", "time", "cv2", "numpy", "torch", "torch.nn.functional"}
    assert modules == others | {"data.shapes"}


@pytest.mark.parametrize("before, after", list(zip(PATHS, PATHS[1:])))
def test_neighbours_differ_in_sixty_lines_at_most(before, after):
    lines = [path.read_text().splitlines() for path in (before, after)]
    blocks = difflib.SequenceMatcher(None, *lines, autojunk=False).get_opcodes()
    changed = [max(i2 - i1, j2 - j1) for kind, i1, i2, j1, j2 in blocks if kind != "equal"]
    assert 0 < sum(changed) <= 60


def test_the_last_step_is_a_detector_in_250_lines():
    assert len(PATHS) == 6 and len(PATHS[-1].read_text().splitlines()) <= 250


# They are so alike that two stand for all: the first, and the first with the focal loss.
@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.long] * (i not in (0, 4)))
        for i, path in enumerate(PATHS)
    ],
    ids=lambda path: path.stem,
)
def test_a_step_trains_measures_and_draws(path, tmp_path, monkeypatch, capsys):
    step = importlib.import_module(f"lesson.steps.{path.stem}")
    draw = step.draw
    monkeypatch.setattr(step, "BATCH", 2)
    monkeypatch.setattr(step, "draw", lambda count, *rest, **options: draw(8, *rest, **options))
    ap50 = step.main(iterations=50, picture=tmp_path / "picture.jpg")
    printed = capsys.readouterr().out
    assert f"AP50 {ap50:.3f} after" in printed and " 50  loss " in printed
    assert (tmp_path / "picture.jpg").stat().st_size > 10_000


@pytest.mark.long
def test_the_last_step_reaches_an_ap50_over_nine_tenths(tmp_path):
    assert step6_pyramid.main(picture=tmp_path / "picture.jpg") > 0.9


def test_its_iou_is_that_of_layers():
    boxes, others = some_boxes(20), some_boxes(30)
    assert torch.allclose(step6_pyramid.iou(boxes, others), layers_boxes.iou(boxes, others))


def test_its_deltas_are_those_of_layers():
    boxes, priors, deltas = some_boxes(20), some_boxes(20), torch.randn(3, 20, 4) * 20
    encoded = step6_pyramid.encode(boxes, priors)
    assert torch.allclose(encoded, layers_boxes.encode(boxes, priors), atol=1e-4)
    decoded = step6_pyramid.decode(deltas, priors)
    assert torch.allclose(decoded, layers_boxes.decode(deltas, priors), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("count", (0, 1, 8, 20))
def test_its_matching_is_that_of_layers(count):
    boxes, priors = some_boxes(count), step6_pyramid.make_priors()
    # Of priors that hold a small object, none has the same overlap as another.
    priors = priors + torch.rand(len(priors), 4) * 0.1
    # Nearly the same object twice: both want the same prior.
    boxes = torch.cat([boxes, boxes[:1] + 0.1])
    found = step6_pyramid.match(boxes, priors, 0.5, 0.4)
    if count == 0:
        assert (found == step6_pyramid.BACKGROUND).all() and found.shape == (len(priors),)
        return
    ignore = torch.zeros(1, len(boxes), dtype=torch.bool)
    assert torch.equal(found, matching.match(boxes[None], ignore, priors, 0.5, 0.4)[0])
    assert set(range(len(boxes))) <= set(found.tolist())


@pytest.mark.parametrize("step", (step4_hard_negatives, step6_pyramid))
def test_more_objects_than_priors_are_matched_as_in_layers(step):
    priors = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    boxes = torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 10], [50, 50, 60, 55]])
    thresholds = (0.5,) if step is step4_hard_negatives else (0.5, 0.4)
    assert step.match(boxes, priors, *thresholds).tolist() == [1, 2]
    ignore = torch.zeros(1, len(boxes), dtype=torch.bool)
    assert matching.match(boxes[None], ignore, priors, 0.5, 0.4).tolist() == [[1, 2]]


def test_its_focal_loss_is_that_of_layers_and_has_the_same_gradient():
    labels = torch.randint(-2, len(CLASSES), (2, 50))
    gradients = []
    for loss in (step6_pyramid.focal_loss, losses.focal_loss):
        logits = torch.linspace(-30, 30, 300).view(2, 50, 3).requires_grad_()
        loss(logits, labels, 0.25, 2.0).backward()
        gradients.append(logits.grad)
    assert torch.allclose(*gradients) and gradients[0].abs().max() > 0.1


def test_its_nms_is_torchvision_s():
    boxes, scores, labels = some_boxes(100), torch.rand(100), torch.randint(0, 3, (100,))
    found = step6_pyramid.batched_nms(boxes, scores, labels, 0.3)
    assert found.tolist() == batched_nms(boxes, scores, labels, 0.3).tolist()
    assert len(found) < 100


def test_the_hard_negatives_of_step_4_are_those_of_layers():
    labels = torch.randint(-1, 2, (4, 60)).where(torch.rand(4, 60) < 0.2, -1)
    labels[0] = -1
    arguments = torch.rand(4, 60), labels, 3
    expected = losses.mine_hard_negatives(*arguments)
    assert torch.equal(step4_hard_negatives.mine_hard_negatives(*arguments), expected)


def noisy_detections(targets):
    """Detections near the objects, some twice, some of a wrong class, and some of nothing."""
    detections = []
    for target in targets:
        near = target["boxes"] + torch.randn_like(target["boxes"]) * 2
        boxes = torch.cat([target["boxes"], near, some_boxes(5)])
        labels = torch.cat([target["labels"], target["labels"], torch.randint(0, 3, (5,))])
        scores = torch.rand(len(boxes)).sort(descending=True).values
        order = torch.randperm(len(boxes))
        detections.append(dict(boxes=boxes[order], scores=scores, labels=labels[order]))
    return detections


def test_its_ap50_is_voc_s_and_pycocotools_but_for_the_latter_s_101_recalls():
    _, targets = step6_pyramid.draw(40, seed=5)
    detections = noisy_detections(targets)
    images = [
        (
            (96, 96),
            [(*box, CLASSES[label]) for box, label in zip(t["boxes"].tolist(), t["labels"])],
        )
        for t in targets
    ]
    records = make_records(images, list(CLASSES))
    arrays = {
        i: {key: value.numpy() for key, value in found.items()}
        for i, found in enumerate(detections)
    }
    ap50 = step6_pyramid.compute_ap50(detections, targets)
    assert math.isclose(ap50, voc_metrics(CLASSES, records, arrays)[0]["mAP"], abs_tol=1e-6)
    assert abs(ap50 - coco_metrics(CLASSES, records, arrays)[0]["AP50"]) < 0.02
    assert 0.2 < ap50 < 0.9


def test_the_differences_in_the_text_are_those_of_the_files():
    text = README.read_text()
    assert fill_differences(text) == text
    quoted = re.findall(r"<!--difference (\S+) (\S+) \w+-->\n```diff\n(.*?)```", text, re.S)
    assert {after for _, after, _ in quoted} == {path.stem for path in PATHS[1:]}
    assert all(0 < lines.count("\n") <= 40 for *_, lines in quoted)


def test_the_table_of_the_steps_holds_what_was_measured():
    text = README.read_text()
    rows = re.findall(r"^\| \[(\w+)\.py\]\(steps/\w+\.py\) \|(.*)\|$", text, re.M)
    assert [name for name, _ in rows] == [path.stem for path in PATHS]
    means = [np.mean([float(x) for x in re.findall(r"0\.\d+", row)]) for _, row in rows]
    assert means[-1] > 0.9 and means[-1] == max(means)
