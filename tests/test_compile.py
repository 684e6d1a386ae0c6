"""Network and losses are each one graph, without a part that only Python can do; a compiler makes
of it what it can."""

import pytest
import torch

from layers.losses import FocalLoss, MultiBoxLoss
from retinanet import RetinaNet
from ssd import SSD
from train import Autocast

LABELS = torch.tensor([[0, -1, 1, -2], [-1, -1, -1, -1]])
BOXES = torch.tensor([[0.0, 0, 10, 10], [5, 5, 25, 15], [0, 0, 40, 40], [3, 3, 9, 9]]).expand(
    2, 4, 4
)
PRIORS = BOXES[0] + torch.tensor([1.0, 0, 2, 3])


@pytest.mark.parametrize(
    "criterion, columns", ((FocalLoss(), 3), (FocalLoss(box_loss="giou"), 3), (MultiBoxLoss(), 4))
)
def test_compiled_losses_are_one_graph_and_the_same(criterion, columns):
    results = []
    deltas, logits = torch.randn(2, 4, 4), torch.randn(2, 4, columns)
    for compare in (
        criterion.compare,
        torch.compile(criterion.compare, backend="aot_eager", fullgraph=True),
    ):
        inputs = [deltas.clone().requires_grad_(), logits.clone().requires_grad_()]
        losses = compare(*inputs, PRIORS, LABELS, BOXES)
        results.append([*losses, *torch.autograd.grad(sum(losses), inputs)])
    for plain, compiled in zip(*results):
        torch.testing.assert_close(plain, compiled)


@pytest.mark.parametrize(
    "model, side",
    (
        (RetinaNet(2, 18, channels=32, head_convs=1), 64),
        pytest.param(SSD(2), 300, marks=pytest.mark.long),
    ),
)
def test_a_network_is_one_graph(model, side):
    images = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    with torch.no_grad():
        expected = model.eval()(images)
        torch.testing.assert_close(
            torch.compile(model, backend="eager", fullgraph=True)(images), expected
        )
        network = torch.compile(Autocast(model, torch.float32), backend="eager", fullgraph=True)
        torch.testing.assert_close(network(images), expected)


def test_a_compiled_network_leaves_its_model_plain_for_evaluations():
    model = RetinaNet(2, 18, channels=32, head_convs=1)
    names = list(model.state_dict())
    Autocast(model, torch.float32).compile(dynamic=False)
    assert list(model.state_dict()) == names and model._compiled_call_impl is None
