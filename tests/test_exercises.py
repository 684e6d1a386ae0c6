"""The lesson's exercises: stubs fail the tests of their functions, right answers pass, and the
mistakes that everybody makes are called by their name."""

import importlib
import inspect
import os
import re
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT

# Exercise -> its tests, the functions to write and where the project's own stand.
EXERCISES = {
    "iou": ("test_boxes", "layers.boxes", ("iou",)),
    "deltas": ("test_boxes", "layers.boxes", ("encode", "decode")),
    "priors": ("test_priors", "layers.priors", ("lay_priors",)),
    "match": ("test_matching", "layers.matching", ("best_priors",)),
    "mining": ("test_losses", "layers.losses", ("mine_hard_negatives",)),
    "focal": ("test_losses", "layers.losses", ("focal_loss",)),
    "nms": ("test_nms", "layers.detections", ("batched_nms",)),
    "average_precision": ("test_metrics", "utils.evaluation.metrics", ("average_precision",)),
}
PLUS_ONE = """
import torch
def iou(boxes, others):
    left, top, right, bottom = boxes[:, None].unbind(-1)
    other = others.unbind(-1)
    width = torch.minimum(right, other[2]) - torch.maximum(left, other[0]) + 1
    height = torch.minimum(bottom, other[3]) - torch.maximum(top, other[1]) + 1
    shared = width.clamp(min=0) * height.clamp(min=0)
    area = (right - left + 1) * (bottom - top + 1)
    other_area = (other[2] - other[0] + 1) * (other[3] - other[1] + 1)
    return shared / (area + other_area - shared)
"""
ARGMAX = """
def best_priors(overlap, prior):
    return prior.gather(-1, overlap.argmax(dim=-1, keepdim=True))[..., 0]
"""
ACROSS_CLASSES = """
from torchvision.ops import nms
def batched_nms(boxes, scores, labels, iou_threshold):
    return nms(boxes, scores, iou_threshold)
"""
NO_FLOOR = """
def mine_hard_negatives(class_loss, labels, negatives_per_positive):
    negative = labels == -1
    rank = class_loss.masked_fill(~negative, -1).argsort(dim=1, descending=True).argsort(dim=1)
    return negative & (rank < negatives_per_positive * (labels >= 0).sum(dim=1, keepdim=True))
"""
CLAMPED = """
import torch
def focal_loss(logits, labels, alpha, gamma):
    p = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    present = torch.nn.functional.one_hot(labels.clamp(min=0), logits.shape[-1]).bool()
    present &= (labels >= 0)[..., None]
    cost = torch.where(
        present, -alpha * (1 - p) ** gamma * p.log(), -(1 - alpha) * p**gamma * (1 - p).log()
    )
    return (cost * (labels != -2)[..., None]).sum()
"""
COLUMN_BY_COLUMN = """
import torch
def lay_priors(base_priors, grid, steps):
    x, y = torch.meshgrid(
        torch.arange(grid[1]) * steps[1], torch.arange(grid[0]) * steps[0], indexing="ij"
    )
    return (torch.stack([x, y, x, y], dim=-1)[:, :, None] + base_priors).flatten(0, 2)
"""
NO_ENVELOPE = """
import math
import numpy as np
def average_precision(hits, num_objects, eleven_points=False):
    if num_objects == 0:
        return math.nan
    found = np.cumsum(hits)
    recall, precision = found / num_objects, found / np.arange(1, len(hits) + 1)
    if eleven_points:
        points = np.linspace(0, 1, 11)
        return float(np.mean([precision[recall >= point].max(initial=0) for point in points]))
    return float((np.diff(recall, prepend=0) * precision).sum())
"""
NO_LIMIT = """
from layers.boxes import encode as project_encode
from layers.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
import torch
def encode(boxes, priors):
    return project_encode(boxes, priors)
def decode(deltas, priors):
    shift, stretch = deltas.split(2, dim=-1)
    centre, size = xyxy_to_cxcywh(priors).split(2, dim=-1)
    centre = centre + shift * size * 0.1
    return cxcywh_to_xyxy(torch.cat([centre, size * (stretch * 0.2).exp()], dim=-1))
"""
MISTAKES = (
    ("iou", PLUS_ONE, "there is no \\+ 1 in it"),
    ("deltas", NO_LIMIT, "test_no_delta_makes_a_box_infinite"),
    ("priors", COLUMN_BY_COLUMN, "x moves with the column"),
    ("match", ARGMAX, "the argmax of every object loses one of them"),
    ("mining", NO_FLOOR, "it must keep some of its background"),
    ("focal", CLAMPED, "compute -ln\\(p\\) from the logit"),
    ("nms", ACROSS_CLASSES, "NMS is done per class"),
    ("average_precision", NO_ENVELOPE, "the best precision at this or a larger recall counts"),
)


def run_tests(exercise, path):
    """What pytest prints of an exercise's tests with the functions of a file."""
    command = [sys.executable, "-m", "pytest", f"tests/{EXERCISES[exercise][0]}.py", "-n", "0"]
    done = subprocess.run(
        [*command, "-rA", "-p", "no:cacheprovider", "--mine", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | dict(OMP_NUM_THREADS="1"),
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def outcomes(printed):
    """The names of the tests that passed, and of those that failed."""
    found = re.findall(r"^(PASSED|FAILED) tests/\w+\.py::(\w+)", printed, re.M)
    passed, failed = (
        {name for kind, name in found if kind == word} for word in ("PASSED", "FAILED")
    )
    return passed - failed, failed


def answer(exercise, before=""):
    """A file in which every function is the project's own, after this line of code."""
    _, module, names = EXERCISES[exercise]
    lines = [f"import {module} as project"]
    for name in names:
        lines += [f"project_{name} = project.{name}", f"def {name}(*arguments, **options):"]
        lines += [f"    {before}"] if before else []
        lines += [f"    return project_{name}(*arguments, **options)"]
    return "\n".join(lines)


@pytest.mark.long
@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_right_answer_passes_and_a_stub_fails_the_tests_that_ask_it(exercise, tmp_path):
    (tmp_path / "right.py").write_text(answer(exercise))
    passed, failed = outcomes(run_tests(exercise, tmp_path / "right.py"))
    assert passed and not failed

    _, failed_by_stub = outcomes(run_tests(exercise, ROOT / f"lesson/exercises/{exercise}.py"))
    # The tests that call the function, as an error in the project's own shows.
    (tmp_path / "raises.py").write_text(answer(exercise, before="raise ZeroDivisionError"))
    passed_without, failed_without = outcomes(run_tests(exercise, tmp_path / "raises.py"))
    assert failed_by_stub and failed_by_stub == failed_without
    assert passed_without | failed_without == passed


@pytest.mark.long
@pytest.mark.parametrize("exercise, code, message", MISTAKES, ids=[name for name, *_ in MISTAKES])
def test_the_mistake_that_many_make_is_called_by_its_name(exercise, code, message, tmp_path):
    (tmp_path / "wrong.py").write_text(code)
    printed = run_tests(exercise, tmp_path / "wrong.py")
    assert re.search(message, printed) and outcomes(printed)[1]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_stub_asks_for_functions_that_the_project_has(exercise):
    _, module, names = EXERCISES[exercise]
    stub = {}
    exec((ROOT / f"lesson/exercises/{exercise}.py").read_text(), stub)
    for name in names:
        assert callable(getattr(importlib.import_module(module), name))
        count = len(inspect.signature(stub[name]).parameters)
        with pytest.raises(NotImplementedError):
            stub[name](*[torch.zeros(2, 4)] * count)
