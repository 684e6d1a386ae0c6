"""torchvision's own detectors, doing the same work."""

from unittest import mock

import torch
from torchvision import models
from torchvision.models import WeightsEnum, detection

from tools.workloads import CLASSES, batch


def theirs(name, size, recipe):
    """torchvision's detector for images of that size, as much of its base frozen as of ours, its
    weights random."""
    sides = dict(min_size=min(size), max_size=max(size)) if "retinanet" in name else {}
    base = "vgg16" if "vgg" in name else "resnet50"
    with mock.patch.object(
        WeightsEnum, "get_state_dict", lambda *_, **__: getattr(models, base)().state_dict()
    ):
        return getattr(detection, name)(
            num_classes=CLASSES, trainable_backbone_layers=5 - recipe.frozen_stages, **sides
        )


def training_theirs(name, device, images, size, recipe):
    """A training step of torchvision's detector, which takes a list of float images."""
    model = theirs(name, size, recipe).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    pixels, targets = batch(images, size, device)
    pixels = list(pixels / 255)

    def step():
        optimizer.zero_grad()
        sum(model(pixels, targets).values()).backward()
        optimizer.step()

    return step
