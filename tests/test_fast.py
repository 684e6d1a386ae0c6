import pytest
import torch

from layers.fast import CHUNK_SIZE, fast_focal_loss
from layers.losses import focal_loss
from layers.matching import BACKGROUND, IGNORED

LABELS = torch.tensor([[0, BACKGROUND, 2, IGNORED, BACKGROUND], [IGNORED, 1, 1, BACKGROUND, 0]])


@pytest.mark.parametrize("gamma", (0.0, 1.5, 2.0))
def test_the_fast_form_agrees_with_the_plain_one(gamma):
    logits = (torch.randn(2, 5, 3, dtype=torch.double) * 4).requires_grad_()
    plain = focal_loss(logits, LABELS, 0.25, gamma)
    (expected,) = torch.autograd.grad(3 * plain, logits)
    fast = fast_focal_loss(logits, LABELS, 0.25, gamma)
    (found,) = torch.autograd.grad(3 * fast, logits)
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(found, expected)


def test_how_many_logits_are_taken_at_a_time_changes_nothing(monkeypatch):
    logits = torch.randn(2, 5, 3)
    whole = fast_focal_loss(logits, LABELS, 0.25, 2.0)
    monkeypatch.setitem(CHUNK_SIZE, "cpu", 4)
    torch.testing.assert_close(fast_focal_loss(logits, LABELS, 0.25, 2.0), whole)


@pytest.mark.parametrize("logit", (-1000.0, 1000.0))
def test_extreme_logits_have_finite_gradients(logit):
    logits = torch.full((2, 5, 3), logit, requires_grad=True)
    fast_focal_loss(logits, LABELS, 0.25, 2.0).backward()
    assert logits.grad.isfinite().all()


def test_a_gradient_is_given_once():
    """It lies in the same memory, scaled in place: a second time it would be scaled twice."""
    logits = torch.randn(2, 5, 3, requires_grad=True)
    loss = fast_focal_loss(logits, LABELS, 0.25, 2.0)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
