import math

import pytest
import torch

from utils import step_size
from utils.step_size import StepSize, relative_step

OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, 0.1),
    "momentum": lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9),
    "adam": lambda weights: torch.optim.Adam(weights, 0.1),
    "adamw": lambda weights: torch.optim.AdamW(weights, 0.1, weight_decay=0.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_what_the_weights_were_moved_by(name):
    layers = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
    optimizer = OPTIMIZERS[name](layers.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        layers(torch.randn(5, 4)).square().sum().backward()
        before = [layer.weight.detach().clone() for layer in layers]
        optimizer.step()
    moved = [(layer.weight - old).norm() ** 2 for layer, old in zip(layers, before)]
    weights = [layer.weight.norm() ** 2 for layer in layers]
    expected = (sum(moved) / sum(weights)).sqrt().item()
    assert relative_step(optimizer).item() == pytest.approx(expected, rel=1e-4)


def test_before_the_first_step_it_is_nothing():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2, 2))], 0.1)
    assert relative_step(optimizer).item() == 0


def test_frozen_weights_do_not_count():
    frozen, free = (torch.nn.Parameter(torch.full((2, 2), value)) for value in (100.0, 1.0))
    frozen.requires_grad_(False)
    optimizer = torch.optim.SGD([frozen, free], 0.1)
    free.sum().backward()
    optimizer.step()
    assert relative_step(optimizer).item() == pytest.approx(0.1 / 0.9)


def test_a_line_of_the_log_holds_the_largest_step_since_the_one_before(monkeypatch):
    steps = iter(map(torch.tensor, (0.1, 0.9, 0.2, 0.3, 0.1, 0.4)))
    monkeypatch.setattr(step_size, "relative_step", lambda optimizer: next(steps))
    size = StepSize(None, log_every=2)
    values = [size.since_last_line(iteration) for iteration in range(1, 7)]
    assert [value.item() for value in values[1::2]] == pytest.approx([0.9, 0.3, 0.4])
    assert values[0::2] == [None] * 3


def test_later_on_only_the_steps_of_lines_are_measured(monkeypatch):
    asked = []
    monkeypatch.setattr(step_size, "relative_step", lambda _: asked.append(1) or torch.ones(()))
    size = StepSize(None, log_every=10)
    for iteration in range(step_size.FIRST + 1, step_size.FIRST + 41):
        size.since_last_line(iteration)
    assert len(asked) == 4


def test_a_gradient_that_is_not_finite_makes_no_step():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    (weight * math.inf).sum().backward()
    assert relative_step(torch.optim.SGD([weight], 0.1)).item() == 0
