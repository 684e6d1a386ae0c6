"""Batch norm that stays as it was loaded, statistics and affine values both."""

import torch
from torch import nn
from torch.nn import functional as F


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """torch's batch norm as it predicts, while training too; none of its values learn.

    Only the gradient is our own: on a GPU, torch's is not channels last, and is copied once more.
    """

    def __init__(self, num_features, **options):
        super().__init__(num_features, **options)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode=True):
        return super().train(False)

    def forward(self, x):
        """[B, C, H, W] -> the same shape."""
        values = self.running_mean, self.running_var, self.weight, self.bias, self.eps
        return Normalization.apply(x, *values) if x.requires_grad else super().forward(x)


class Normalization(torch.autograd.Function):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias."""

    @staticmethod
    def forward(ctx, x, mean, variance, weight, bias, epsilon):
        ctx.save_for_backward(weight * (variance + epsilon).rsqrt())
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=epsilon)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        # In the type of the gradient, or the product would be float32.
        scale = ctx.saved_tensors[0].to(gradient.dtype)[:, None, None]
        return gradient * scale, None, None, None, None, None
