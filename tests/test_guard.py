"""A gradient that is not finite changes nothing, and its images are named."""

import math

import pytest
import torch

from data.errors import UserError
from tests.conftest import make_target
from utils.build import build_detector, build_optimizer
from utils.guard import MAX_SKIPPED, Guard
from utils.recipes import RECIPES

RECIPE = RECIPES["shapes"] | dict(max_grad_norm=1.0, precision="float32")
BAD = float("nan")


@pytest.mark.parametrize("kind", (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW))
@pytest.mark.parametrize("bad", (float("nan"), float("inf")))
def test_no_step_is_made_with_it_nor_after_it(kind, bad):
    layer = torch.nn.Linear(2, 1, bias=False)
    optimizer = kind(layer.parameters(), lr=0.1, fused=True)
    guard = Guard(layer, optimizer, RECIPE, path=str)
    weights = []
    for values in ((3.0, 4.0), (bad, 1.0), (3.0, 4.0)):
        layer.weight.grad = torch.tensor([values])
        guard.clip()
        optimizer.step()
        weights.append(layer.weight.detach().clone())
    assert (
        weights[0].isfinite().all()
        and torch.equal(weights[0], weights[1])
        and torch.equal(weights[0], weights[2])
    )


def test_gradients_are_cut_to_the_norm_that_is_told_before():
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[3.0, 4.0]])
    guard = Guard(layer, torch.optim.SGD(layer.parameters(), lr=1, fused=True), RECIPE, path=str)
    assert guard.clip() == 5 and layer.weight.grad.tolist()[0] == pytest.approx([0.6, 0.8])


def test_the_images_of_the_first_bad_iteration_are_named():
    layer = torch.nn.Linear(2, 1, bias=False)
    guard = Guard(
        layer,
        torch.optim.SGD(layer.parameters(), lr=1, fused=True),
        RECIPE,
        path=lambda index: f"{index}.jpg",
    )
    for iteration, gradient in ((7, 1.0), (8, BAD), (9, BAD)):
        layer.weight.grad = torch.full((1, 2), gradient)
        guard.remember(
            iteration,
            [iteration, 10 * iteration],
            dict(box_loss=torch.tensor(0.5), grad_norm=guard.clip(), lr=0.1),
        )
    with pytest.raises(
        UserError,
        match="iteration 8: box_loss 0.5, grad_norm nan, lr 0.1, images 8.jpg, 80.jpg;",
    ):
        guard.raise_if_nonfinite()


def test_a_healthy_run_is_left_alone():
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.ones(1, 2)
    guard = Guard(layer, torch.optim.SGD(layer.parameters(), lr=1, fused=True), RECIPE, path=str)
    guard.remember(1, [0], dict(grad_norm=guard.clip()))
    guard.raise_if_nonfinite()
    assert not guard.recent


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
    recipe = recipe | dict(optimizer="sgd", precision="float32")
    guard = Guard(model, build_optimizer(recipe, model), recipe, str)
    assert guard.clip().is_meta and all(parameter.grad.is_meta for parameter in model.parameters())


def half_guard(layer):
    """A guard of float16 on a CPU, and its optimizer."""
    optimizer = torch.optim.SGD(layer.parameters(), lr=1, fused=True)
    recipe = RECIPE | dict(max_grad_norm=1e6, precision="fp16")
    return Guard(layer, optimizer, recipe, path=str), optimizer


def test_float16_s_scale_is_gone_from_the_gradients_before_they_are_cut():
    layer = torch.nn.Linear(2, 1, bias=False)
    guard, _ = half_guard(layer)
    guard.scale(layer(torch.tensor([3.0, 4.0])).sum()).backward()
    assert layer.weight.grad.norm() > 1000 and guard.clip() == 5
    assert layer.weight.grad.tolist() == [[3, 4]]


def test_where_float16_s_scale_is_too_large_the_step_is_left_out_and_the_scale_halved():
    layer = torch.nn.Linear(2, 1, bias=False)
    guard, optimizer = half_guard(layer)
    first, before = guard.scale(torch.ones(())).item(), layer.weight.detach().clone()
    for gradient, is_stepped in ((math.inf, False), (1.0, True)):
        layer.weight.grad = torch.full((1, 2), gradient)
        guard.clip()
        optimizer.step()
        assert torch.equal(layer.weight, before) is not is_stepped
    guard.raise_if_nonfinite()
    assert guard.scale(torch.ones(())).item() == first / 2


def test_a_loss_that_is_not_finite_at_any_scale_ends_a_run_in_float16():
    layer = torch.nn.Linear(2, 1, bias=False)
    guard, optimizer = half_guard(layer)
    guard.scale(torch.ones(()))
    for iteration in range(1 + MAX_SKIPPED):
        guard.raise_if_nonfinite()
        layer.weight.grad = torch.full((1, 2), BAD)
        guard.remember(iteration, [iteration], dict(grad_norm=guard.clip()))
    with pytest.raises(UserError, match="not finite"):
        guard.raise_if_nonfinite()
