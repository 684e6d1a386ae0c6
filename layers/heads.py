"""The two ends of a network: normalised pixels go in, a row of numbers per prior comes out."""

import torch
from torch import nn


class Normalize(nn.Module):
    """Pixels 0..255 minus their mean, over their standard deviation: what the base was trained on.

    Mean and deviation are no weights: a checkpoint never holds them, the model's definition does.
    """

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images):
        """[B, 3, H, W], uint8 or float -> float, the same shape."""
        return (images - self.mean) / self.std


def per_prior(prediction, numbers):
    """[B, S * numbers, H, W] -> [B, H * W * S, numbers], ordered by row, column, shape."""
    return prediction.permute(0, 2, 3, 1).reshape(prediction.shape[0], -1, numbers)


def apply_heads(heads, feature_maps, numbers):
    """Apply each head to its feature map -> [B, A, numbers], the finest level first."""
    rows = [per_prior(head(x), numbers) for head, x in zip(heads, feature_maps)]
    return torch.cat(rows, dim=1)
