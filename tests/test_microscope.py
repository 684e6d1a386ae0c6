import pytest
import torch

from data.text import UserError
from lesson import example
from lesson.microscope import best_priors_of, describe_prior, find_prior, partner
from lesson.runs import initial_model
from tests.conftest import draw_shapes
from utils.build import build_detector


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("data") / "shapes"
        patch.setattr(example, "DATA", draw_shapes(root, train=1, val=example.IMAGE + 1))
        return {name: example.look(name) for name in example.NAMES}


def test_a_prior_is_named_by_its_number_or_by_a_place_and_a_size(views):
    row = find_prior(views["ssd"], ["6634"])
    box = views["ssd"].priors[row]
    x, y = (box[:2] + box[2:]).tolist()[0] / 2, (box[:2] + box[2:]).tolist()[1] / 2
    assert row == 6634 and find_prior(views["ssd"], [str(x), str(y), "60"]) == row
    for wrong in (["8732"], ["-1"], ["1", "2"], ["x"], ["1", "2", "0"]):
        with pytest.raises(UserError):
            find_prior(views["ssd"], wrong)


def test_an_object_is_followed_in_both_detectors_by_its_best_priors(views):
    rows = best_priors_of(views, [str(example.EXAMPLE)])
    assert rows == dict(ssd=6634, retinanet=4171)  # those that the lesson speaks of
    for wrong in ([], ["7"], ["-1"], ["x"], ["1", "2"]):
        with pytest.raises(UserError):
            best_priors_of(views, wrong)


def test_its_partner_in_the_other_detector_lies_on_the_same_part_of_the_image(views):
    row = partner(views["ssd"], 6634, views["retinanet"])
    scaled = views["retinanet"].priors[row] * torch.tensor([300 / 160, 300 / 128] * 2)
    assert example.iou(scaled[None], views["ssd"].priors[[6634]]).item() > 0.5


@pytest.mark.parametrize("name", ("ssd", "retinanet"))
def test_every_number_of_a_prior_is_told_with_the_place_that_made_it(views, name):
    view = views[name]
    row = view.best_prior(example.EXAMPLE)
    lines = list(describe_prior(view, initial_model(name), row))
    words = [line.split()[0] for line in lines]
    assert {"box", "match", "target", "deltas", "logits", "gradient", "decoded"} <= set(words)
    match = next(line for line in lines if line.split()[0] == "match")
    assert "ellipse" in match and "layers/matching.py" in match
    gradient = next(line for line in lines if line.split()[0] == "gradient")
    assert "ellipse up" in gradient and "triangle down" in gradient


def test_the_costs_of_the_priors_add_up_to_the_losses(views):
    """What the microscope shows of every prior is, all together, what training minimises."""
    for name, view in views.items():
        model = initial_model(name)
        prediction = example.predictions(view, model)
        _, criterion = build_detector(view.recipe, 3)
        losses = criterion(
            prediction.deltas[None], prediction.logits[None], view.priors, view.targets
        )
        count = (view.labels >= 0).sum()
        ours = prediction.box_costs.sum(), (prediction.class_costs * prediction.counts).sum()
        for loss, cost in zip(losses, ours):
            torch.testing.assert_close(cost / count, loss, rtol=1e-4, atol=1e-4)
