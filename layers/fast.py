"""Faster forms of functions in layers/losses.py and layers/resnet.py; skip them at first."""

import torch
import torch.nn.functional as F

from layers.matching import IGNORED

# Logits to process at a time on a CPU, as many as its cache holds; on other devices, all.
CPU_CHUNK_SIZE = 1 << 18
# ROCm, for AMD's GPUs, reports its own library as cuDNN.
HAS_CUDNN = torch.backends.cudnn.is_available() and torch.version.hip is None
WITHOUT_CUDNN = ("cpu", "meta")


def cost_and_slope(logits, gamma):
    """losses.cost_if_absent and its derivative, each in the shape of the logits."""
    p = logits.sigmoid()
    weight = p**gamma
    cost = weight * F.softplus(logits)
    # The cost is p^gamma softplus(x). The derivative of softplus(x) is p, so that of the cost is
    # p^gamma p + gamma cost (1 - p). In place, because each tensor is as large as the logits: first
    # weight becomes p^gamma p, then p becomes 1 - p.
    weight.mul_(p)
    p.neg_().add_(1)
    slope = torch.addcmul(weight, cost, p, value=gamma)
    return cost, slope


class FastFocalLoss(torch.autograd.Function):
    """focal_loss. forward computes the gradient too, the only large tensor that is then kept."""

    @staticmethod
    def forward(ctx, logits, labels, alpha, gamma):
        logits = logits.contiguous()
        num_classes = logits.shape[-1]
        rows = logits.view(-1, num_classes)
        loss = logits.new_zeros(())
        gradient = torch.empty_like(rows)
        row_weights = ((1 - alpha) * (labels != IGNORED)).view(-1, 1)
        chunk_size = CPU_CHUNK_SIZE if logits.device.type == "cpu" else logits.numel()
        chunk_rows = max(chunk_size // num_classes, 1)
        for start in range(0, len(rows), chunk_rows):
            chunk = slice(start, start + chunk_rows)
            cost, slope = cost_and_slope(rows[chunk], gamma)
            loss += (cost.sum(dim=1, keepdim=True) * row_weights[chunk]).sum()
            torch.mul(slope, row_weights[chunk], out=gradient[chunk])

        # So far, every class counted as absent. Correct that for those that are present.
        column = labels.clamp(min=0)[..., None]
        positive = (labels >= 0)[..., None]
        true_logit = logits.gather(-1, column)
        absent, absent_slope = cost_and_slope(true_logit, gamma)
        present, present_slope = cost_and_slope(-true_logit, gamma)
        loss += ((alpha * present - (1 - alpha) * absent) * positive).sum()
        # By the chain rule, cost(-x) has slope -slope(-x).
        change = -(alpha * present_slope + (1 - alpha) * absent_slope) * positive
        ctx.save_for_backward(gradient.view_as(logits).scatter_add_(-1, column, change))
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, outer_gradient):
        (gradient,) = ctx.saved_tensors
        # In place, as it is not used again.
        return gradient.mul_(outer_gradient), None, None, None


# Called like focal_loss of layers/losses.py.
fast_focal_loss = FastFocalLoss.apply


def can_fuse(x):
    """Whether fast_conv_relu can take x: on an NVIDIA GPU, in bfloat16, while a network learns."""
    device = x.device.type
    if not HAS_CUDNN or device in WITHOUT_CUDNN or not torch.is_grad_enabled():
        return False
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16


class ConvReLU(torch.autograd.Function):
    """relu(conv(x) + residual): cuDNN adds bias and residual and applies ReLU before it writes the
    result, so that they cost no further passes over it."""

    @staticmethod
    def forward(ctx, x, weight, bias, residual, geometry):
        # geometry is (stride, padding, dilation).
        if residual is None:
            y = torch.cudnn_convolution_relu(x, weight, bias, *geometry, groups=1)
        else:
            y = torch.cudnn_convolution_add_relu(x, weight, residual, 1, bias, *geometry, groups=1)
        ctx.save_for_backward(x, weight, y)
        ctx.geometry = geometry
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, weight, y = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradient, y, 0)
        needed = ctx.needs_input_grad
        gradients = torch.ops.aten.convolution_backward(
            gradient,
            x,
            weight,
            [len(weight)],
            *ctx.geometry,
            transposed=False,
            output_padding=(0, 0),
            groups=1,
            output_mask=needed[:3],
        )
        residual_gradient = gradient if needed[3] else None
        return *gradients, residual_gradient, None


def fast_conv_relu(x, weight, bias, stride, padding, residual=None):
    """The same as relu(F.conv2d(x, weight, bias, stride, padding) + residual), in bfloat16."""
    if residual is not None:
        residual = residual.bfloat16()
    geometry = (stride, padding, (1, 1))
    return ConvReLU.apply(x.bfloat16(), weight.bfloat16(), bias.bfloat16(), residual, geometry)
