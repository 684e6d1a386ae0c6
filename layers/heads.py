"""Heads: the end of a network, where feature maps become a row of numbers per prior."""

import torch


def per_prior(prediction, numbers):
    """[B, S * numbers, H, W] -> [B, H * W * S, numbers], ordered by row, column, shape."""
    return prediction.permute(0, 2, 3, 1).reshape(prediction.shape[0], -1, numbers)


def apply_heads(heads, feature_maps, numbers):
    """What each head predicts from its feature map, finest level first -> [B, A, numbers]."""
    rows = [per_prior(head(x), numbers) for head, x in zip(heads, feature_maps)]
    return torch.cat(rows, dim=1)
