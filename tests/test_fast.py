import pytest
import torch
import torch.nn.functional as F

from layers import fast
from layers.fast import can_fuse, fast_conv_relu, fast_focal_loss
from layers.losses import focal_loss
from layers.matching import BACKGROUND, IGNORED
from layers.resnet import BasicBlock, freeze_batch_norm

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
    monkeypatch.setattr(fast, "CPU_CHUNK_SIZE", 4)
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


@pytest.fixture
def cudnn(monkeypatch):
    """What cuDNN computes, as a CPU computes it, which does not have it."""

    def stand_in(x, weight, bias, stride, padding, dilation, groups, residual=0):
        return F.relu(F.conv2d(x, weight, bias, stride, padding, dilation, groups) + residual)

    def with_sum(x, weight, residual, alpha, bias, *geometry, groups):
        return stand_in(x, weight, bias, *geometry, groups, alpha * residual)

    monkeypatch.setattr(torch, "cudnn_convolution_relu", stand_in)
    monkeypatch.setattr(torch, "cudnn_convolution_add_relu", with_sum)
    monkeypatch.setattr(fast, "HAS_CUDNN", True)
    monkeypatch.setattr(fast, "WITHOUT_CUDNN", ())


@pytest.mark.parametrize("with_residual", (False, True))
@pytest.mark.parametrize("learns", ("all", "no x", "x alone"))
def test_a_fused_convolution_gives_what_the_plain_one_gives(
    cudnn, monkeypatch, with_residual, learns
):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.double)
    shapes = ((2, 3, 7, 6), (4, 3, 3, 3), (4,), (2, 4, 4, 3))
    leaves = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    wanted = {"all": (0, 1, 2, 3), "no x": (1, 2), "x alone": (0,)}[learns]
    wanted = [leaves[i].requires_grad_() for i in wanted if with_residual or i < 3]
    x, weight, bias, residual = leaves
    residual = residual if with_residual else None
    fused = fast_conv_relu(x, weight, bias, (2, 2), (1, 1), residual)
    plain = F.conv2d(x, weight, bias, stride=2, padding=1)
    plain = F.relu(plain + residual if with_residual else plain)
    gradients = [torch.autograd.grad((y**3).sum(), wanted) for y in (fused, plain)]
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype, is_fused", ((torch.bfloat16, True), (torch.float16, False)))
def test_a_block_is_fused_where_it_learns_in_bfloat16(cudnn, dtype, is_fused):
    block = BasicBlock(4, 4)
    x = torch.randn(2, 4, 6, 5)
    freeze_batch_norm(block)
    with torch.autocast("cpu", dtype):
        assert (type(block(x).grad_fn).__name__ == "ConvReLUBackward") == is_fused
        with torch.no_grad():
            assert not can_fuse(x)
    assert not can_fuse(x)


def test_a_fused_block_compiles_as_a_whole(cudnn):
    block = BasicBlock(4, 4)
    freeze_batch_norm(block)
    x = torch.randn(2, 4, 6, 5)
    gradients = []
    for function in (block, torch.compile(block, backend="aot_eager", fullgraph=True)):
        with torch.autocast("cpu", torch.bfloat16):
            y = function(x)
        weights = [block.conv1.weight, block.conv2.weight]
        gradients.append(torch.autograd.grad(y.float().square().sum(), weights))
    torch.testing.assert_close(*gradients, rtol=0.02, atol=0.02)
