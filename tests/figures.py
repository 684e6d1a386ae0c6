"""Published detectors, their weights filled by a rule, and the figures that their own programs
computed with them."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch


def figures(name):
    return np.load(Path(__file__).parent / f"parity/{name}.npz")


def fill(name, shape):
    """The tensor of this name and shape: drawn from the name alone."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    drawn = (
        np.random.RandomState(zlib.crc32(name.encode()))
        .standard_normal(tuple(shape))
        .astype(np.float32)
    )
    if len(shape) >= 2:
        drawn *= np.float32(np.sqrt(1 / np.prod(shape[1:])))
    elif name.endswith("running_var"):
        drawn = 1 + np.abs(drawn) * np.float32(0.1)
    elif name.endswith("weight"):
        drawn = 1 + drawn * np.float32(0.1)
    else:
        drawn *= np.float32(0.1)
    return torch.from_numpy(drawn)


def published_state(numbers):
    """The state dict in its publisher's names."""
    return {name: fill(name, shape) for name, shape in json.loads(str(numbers["keys"])).items()}


def network_input(numbers):
    """[B, 3, H, W] as the published network received it: already normalised."""
    scale = float(numbers["input_scale"]) if "input_scale" in numbers else 1.0
    drawn = np.random.RandomState(int(numbers["seed"])).standard_normal(tuple(numbers["shape"]))
    return torch.from_numpy((drawn * scale).astype(np.float32))


def pixels(numbers, model, mean=None, std=None):
    """The image that the model's own normalisation, or that of a published mean and std, turns
    into the input."""
    shown = network_input(numbers)
    mean = model.mean if mean is None else torch.tensor(mean).view(3, 1, 1)
    std = model.std if std is None else torch.tensor(std).view(3, 1, 1)
    return shown * std + mean


def assert_relative(ours, theirs, tolerance=1e-4):
    """Equal to within this share of the largest figure."""
    theirs = torch.as_tensor(theirs)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()
