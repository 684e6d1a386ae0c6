"""A run goes on in the state in which its checkpoint left it."""

from types import SimpleNamespace

import pytest
import torch

from utils.guard import Guard
from utils.recipes import RECIPES
from utils.run_state import restore, state_of
from utils.schedule import Plateau


def make_run(precision):
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1, fused=True)
    return SimpleNamespace(
        model=model,
        optimizer=optimizer,
        guard=Guard(model, optimizer, RECIPES["shapes"] | dict(precision=precision), path=str),
        plateau=Plateau(RECIPES["shapes"], per_epoch=1),
        ema=None,
        best=0.5,
        stale=0,
        per_epoch=1,
    )


def content_of(run):
    return state_of(run, 3) | dict(model=run.model.state_dict(), iteration=3)


def scale_of(run):
    return run.guard.scale(torch.ones(())).item()


def test_float16_s_scale_is_what_it_was():
    first, second = make_run("fp16"), make_run("fp16")
    untouched = scale_of(first)
    for parameter in first.model.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    first.guard.clip()
    restore(second, content_of(first))
    assert scale_of(second) == scale_of(first) == untouched / 2


@pytest.mark.parametrize("before, after", (("fp16", "float32"), ("float32", "fp16")))
def test_a_run_may_go_on_where_another_precision_is_fast(before, after):
    second = make_run(after)
    restore(second, content_of(make_run(before)))
    assert second.done == 3 and scale_of(second) == scale_of(make_run(after))
