"""Conventions: what a detector's numbers mean where programs differ and weights cannot
express it."""

from dataclasses import asdict, dataclass, replace

import torch


@dataclass(frozen=True)
class Conventions:
    """Ours are the defaults. A checkpoint made from a published one keeps its publisher's."""

    # Priors: fields of layers.priors.Level.
    fitted_stride: bool = False
    clamp: str = ""
    # The network.
    mean: tuple = ()  # of the pixels; the model's own where empty
    norm_epsilon: float = 1e-5  # of batch norm
    p6_from: str = "c5"  # or p5
    p7_relu: bool = True
    # Images: see data/resize.py and Collate in data/batch.py.
    resize: str = "bytes"  # or whole, float, pil
    floor_sizes: bool = False  # sides of resized images are cut to whole pixels, not rounded
    exact_colour: bool = False  # the padding is the exact mean, which bytes are not
    size_divisor: int = 32  # padded sides are multiples of it
    min_padding: int = 0  # pixels
    clip_boxes: str = "image"  # where boxes are cut before NMS: image, input (padded), or nothing


OF_IMAGES = ("resize", "floor_sizes", "exact_colour", "size_divisor", "min_padding", "clip_boxes")


def apply_conventions(model, conventions):
    """Let a model see pixels and batch norm as the conventions say."""
    if conventions.mean:
        model.mean = torch.tensor(conventions.mean).view(3, 1, 1)
    for norm in model.base.norms():
        norm.eps = conventions.norm_epsilon


def with_our_images(conventions):
    """The same, but images go through our own, faster pipeline."""
    return replace(conventions, **{name: getattr(Conventions, name) for name in OF_IMAGES})


def describe(conventions):
    """Where they differ from ours, in words."""
    ours, values = asdict(Conventions()), asdict(conventions)
    differing = [f"{name} {value}" for name, value in values.items() if value != ours[name]]
    return ", ".join(differing) or "ours"
