"""The learning rate, the size of a step, and gradients that are not finite: their images are
named."""

import math

import pytest
import torch
from torch.amp import GradScaler

from data.text import UserError
from tests.conftest import make_target
from utils import checkpoint
from utils.build import build_detector, build_optimizer
from utils.recipe import Recipe
from utils.recipes import RECIPES, retinanet_coco
from utils.steps import (
    FiniteCheck,
    Plateau,
    learning_rate,
    relative_step,
)

BAD = float("nan")
CPU = torch.device("cpu")


def test_the_rate_climbs_and_drops():
    recipe = Recipe(lr=1.0, warmup=10, milestones=(50, 80), iterations=100)
    rates = [learning_rate(i, recipe) for i in (1, 5, 10, 50, 51, 81)]
    assert rates == pytest.approx([0.1, 0.5, 1, 1, 0.1, 0.01])


def test_the_cosine_ends_near_zero():
    recipe = Recipe(lr=1.0, warmup=0, lr_schedule="cosine", iterations=100)
    assert learning_rate(1, recipe) == 1
    assert learning_rate(51, recipe) == pytest.approx(0.5)
    assert learning_rate(100, recipe) < 1e-3


def test_a_plateau_lowers_the_rate_once_epochs_bring_nothing():
    plateau = Plateau(Recipe(lr_schedule="plateau", plateau_patience=2, gamma=0.1), per_epoch=2)
    for iteration, loss in enumerate((4, 4, 3, 3, 3, 3, 3, 3, 3, 3), start=1):
        assert plateau.factor == 1
        plateau.update(iteration, loss)
    assert plateau.factor == pytest.approx(0.1)
    again = Plateau(Recipe(lr_schedule="plateau"), per_epoch=2)
    again.load_state_dict(plateau.state_dict())
    assert again.factor == plateau.factor and again.best == 3


def test_the_mean_of_an_epoch_is_that_of_the_iterations_that_were_added():
    """As after a resume with another size of the batch, or from within an epoch."""
    before = Plateau(Recipe(lr_schedule="plateau"), per_epoch=10)
    for iteration in range(11, 16):
        before.update(iteration, 1.0)
    plateau = Plateau(Recipe(lr_schedule="plateau"), per_epoch=100)
    plateau.load_state_dict(before.state_dict())
    for iteration in range(16, 101):
        plateau.update(iteration, 1.0)
    assert plateau.best == 1


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


def test_a_step_that_is_not_finite_counts_as_none():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    (weight * math.inf).sum().backward()
    assert relative_step(torch.optim.SGD([weight], 0.1)).item() == 0


@pytest.mark.parametrize("kind", ("sgd", "adam", "adamw"))
def test_a_first_step_that_is_skipped_leaves_nothing_behind(kind):
    layer = torch.nn.Linear(64, 64)
    before = layer.weight.detach().clone()
    optimizer = build_optimizer(retinanet_coco | dict(optimizer=kind, weight_decay=0.0), layer)
    scaler = GradScaler("cpu")
    scaler.scale(torch.zeros(()))  # It has a scale from now on.
    for gradient in (math.nan, 0.0):
        for parameter in layer.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    assert torch.equal(layer.weight, before)


def test_a_checkpoint_without_momentum_leaves_the_buffers_that_a_skipped_step_needs():
    layer = torch.nn.Linear(2, 1)
    saved = build_optimizer(retinanet_coco | dict(momentum=0.0), layer).state_dict()
    optimizer = build_optimizer(retinanet_coco, layer)
    checkpoint.load_optimizer(optimizer, saved)
    assert not optimizer.state[layer.weight]["momentum_buffer"].any()


def batch_of(*indices):
    return [(None, [dict(index=index) for index in indices])]


def add(finite, iteration, grad_norm, *indices):
    values = dict(box_loss=torch.tensor(0.5), grad_norm=torch.tensor(grad_norm), lr=0.1)
    finite.add(iteration, values, batch_of(*indices))


def test_the_images_of_the_first_bad_iteration_are_named():
    finite = FiniteCheck(lambda index: f"{index}.jpg", GradScaler("cpu", enabled=False))
    for iteration, grad_norm in ((7, 1.0), (8, BAD), (9, BAD)):
        add(finite, iteration, grad_norm, iteration, 10 * iteration)
    with pytest.raises(
        UserError,
        match="iteration 8: box_loss 0.5, grad_norm nan, lr 0.1, images 8.jpg, 80.jpg;",
    ):
        finite.raise_if_nonfinite()


def test_a_healthy_run_is_left_alone():
    finite = FiniteCheck(str, GradScaler("cpu", enabled=False))
    finite.raise_if_nonfinite()
    add(finite, 1, 1.0, 0)
    finite.raise_if_nonfinite()
    assert not finite.recent


@pytest.mark.parametrize(
    "recipe, size", (("retinanet_coco", (64, 96)), ("ssd300_coco", (300, 300)))
)
def test_nothing_before_the_optimizer_s_step_waits_for_the_device(recipe, size):
    """The meta device has no numbers to wait for: whatever asks for one fails on it."""
    recipe = RECIPES[recipe] | dict(weights="none", depth=18)
    model, criterion = build_detector(recipe, 3)
    model.to("meta", memory_format=torch.channels_last).train()
    images = torch.empty(2, 3, *size, dtype=torch.uint8, device="meta")
    targets = [
        {name: value.to("meta") for name, value in make_target(*objects).items()}
        for objects in ([(1, 1, 9, 9, 0)] * 3, [])
    ]
    sum(criterion(*model(images), model.priors(size), targets)).backward()
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    assert grad_norm.is_meta and all(parameter.grad.is_meta for parameter in model.parameters())


def test_float16_leaves_a_few_steps_out_while_its_scale_finds_its_way_down():
    finite = FiniteCheck(str, GradScaler("cpu", init_scale=1.0))
    for grad_norm in (math.inf, 1.0, BAD, 2.0):
        add(finite, 1, grad_norm, 0)
    finite.raise_if_nonfinite()


def test_a_loss_that_is_not_finite_at_any_scale_ends_a_run_in_float16():
    finite = FiniteCheck(str, GradScaler("cpu", init_scale=0.5))
    add(finite, 1, math.inf, 0)
    with pytest.raises(UserError, match="not finite"):
        finite.raise_if_nonfinite()
