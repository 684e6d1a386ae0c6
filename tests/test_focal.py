import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from layers.focal import cost_if_absent, focal_loss
from layers.matching import BACKGROUND, IGNORED

LABELS = torch.tensor([[0, BACKGROUND, 2, BACKGROUND], [BACKGROUND, 1, 1, 0]])


@pytest.mark.parametrize("alpha, gamma", ((0.25, 2.0), (0.5, 1.0), (0.75, 0.5)))
def test_it_is_torchvision_s(alpha, gamma):
    logits = torch.randn(2, 4, 3) * 3
    truth = F.one_hot(LABELS.clamp(min=0), 3) * (LABELS >= 0)[..., None]
    expected = sigmoid_focal_loss(logits, truth.float(), alpha, gamma, reduction="sum")
    torch.testing.assert_close(focal_loss(logits, LABELS, alpha, gamma), expected)


def test_without_gamma_it_is_weighted_cross_entropy():
    logits = torch.randn(2, 4, 3)
    truth = F.one_hot(LABELS.clamp(min=0), 3) * (LABELS >= 0)[..., None]
    expected = F.binary_cross_entropy_with_logits(logits, truth.float(), reduction="sum") / 2
    torch.testing.assert_close(focal_loss(logits, LABELS, 0.5, 0.0), expected)


def test_an_ignored_prior_costs_nothing():
    labels = LABELS.masked_fill(torch.tensor([[True, False, True, False]] * 2), IGNORED)
    logits = torch.randn(2, 4, 3, requires_grad=True)
    focal_loss(logits, labels, 0.25, 2.0).backward()
    assert (logits.grad.abs().sum(dim=-1) == 0).tolist() == [[True, False, True, False]] * 2


def test_a_confident_mistake_stays_finite_and_has_a_gradient():
    logits = torch.tensor([[[200.0, -200.0]]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([[1]]), 0.25, 2.0)
    loss.backward()
    message = "compute -ln(p) from the logit: a probability is rounded to 0 or 1, or clamped"
    assert loss.isfinite() and (logits.grad.abs() > 0.1).all(), message


@pytest.mark.parametrize("logit, cost", ((-1000.0, 0.0), (0.0, 0.25 * 0.6931472), (1000.0, 1000.0)))
def test_the_cost_of_an_absent_class_stays_finite(logit, cost):
    assert cost_if_absent(torch.tensor(logit), 2.0).item() == pytest.approx(cost)
