"""The parts of both papers' networks: the feature maps they make, their weights and their work."""

from collections import defaultdict
from functools import partial

import torch
from torch import nn

import ssd
from utils.build import build_detector
from utils.recipes import RECIPES

SSD300_PARTS = {
    "conv1": "base.conv1",
    "conv2": "base.conv2",
    "conv3": "base.conv3",
    "conv4": "base.conv4",
    "conv5": "base.conv5",
    "fc6, fc7": "base.fc",
    "extra 1": "extras.0",
    "extra 2": "extras.1",
    "extra 3": "extras.2",
    "extra 4": "extras.3",
    "box heads": "box_heads",
    "class heads": "class_heads",
}
RETINANET_PARTS = {
    "stem": "base.conv1",
    "layer1": "base.layer1",
    "layer2": "base.layer2",
    "layer3": "base.layer3",
    "layer4": "base.layer4",
    "pyramid": "pyramid",
    "box head": "box_head",
    "class head": "class_head",
}
# A network's recipe, how many classes it has, the size of the image, and its parts.
NETWORKS = {
    "ssd300": ("ssd300_voc", 20, (300, 300), SSD300_PARTS),
    "retinanet": ("retinanet_coco", 80, (800, 1344), RETINANET_PARTS),
}


def network_numbers():
    """Numbers about SSD's network: name -> text."""
    # Eq. 4 in per cent of the image's side; the authors' program rounds the step down.
    step = (90 - 20) // (6 - 2)
    sizes = [300 * (20 + step * k) // 100 for k in range(6)]
    model = ssd.SSD(num_classes=1)
    *_, fc6, _ = model.base.convolutions()
    # In VGG-16, fc6 sees 7 x 7 cells and has 4,096 outputs.
    return {
        "network.step": f"{step}",
        "network.eq4": ", ".join(map(str, sizes[:-1])),
        "network.eq4_last": f"{sizes[-1]}",
        "network.vgg_fc6": f"{fc6.in_channels * 4096 * 7 * 7:,}",
        "network.ssd_fc6": f"{fc6.weight.numel():,}",
        "network.scale": f"{model.scale[0]:g}",
    }


def network_table(name):
    """The parts of a network as a table in Markdown."""
    recipe, num_classes, image_size, parts = NETWORKS[name]
    # On this device tensors have a shape and no numbers, so nothing is computed.
    with torch.device("meta"):
        model, _ = build_detector(RECIPES[recipe], num_classes)
        images = torch.zeros(1, 3, *image_size)
    shapes, work = run(model, images)
    total_work = sum(work.values())
    lines = ["| part | last map | million weights | share of the work |", "|---|---|---|---|"]
    for part, key in parts.items():
        inside = [layer for layer in work if layer == key or layer.startswith(key + ".")]
        size = count_weights(model.get_submodule(key))
        maps = shapes[inside[-1]]
        shape = " x ".join(map(str, maps[0])) if len(maps) == 1 else f"{len(maps)} levels"
        if part.endswith("heads"):
            shape = f"{len(inside)} levels"
        share = sum(work[layer] for layer in inside) / total_work
        lines.append(f"| {part} | {shape} | {size / 1e6:.2f} | {share:.1%} |")
    total_size = count_weights(model)
    lines.append(f"| all | | {total_size / 1e6:.1f} | {total_work / 1e9:.0f} billion |")
    return "\n".join(lines)


def count_weights(module):
    return sum(parameter.numel() for parameter in module.parameters())


def run(model, images):
    """Name of a convolution -> the shapes [C, H, W] of the maps that it makes, and how many
    multiplications that takes."""
    shapes = defaultdict(list)
    work = defaultdict(int)

    def note(name, conv, inputs, output):
        shapes[name].append(tuple(output.shape[1:]))
        # Each number of the map is a sum over the kernel and the channels of the input.
        work[name] += output[0].numel() * conv.weight[0].numel()

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(partial(note, name))
    model(images)
    return shapes, work
