"""Feature Pyramid Network (Lin et al., 2017, arXiv:1612.03144), with RetinaNet's P6 and P7."""

import torch
from torch import nn
from torch.nn import functional as F


class FPN(nn.Module):
    """Feature maps for all levels: each of the base's plus the coarser ones, and then P6 and P7.

    Coarse maps carry more meaning, fine ones more detail (FPN, Sec. 3, Fig. 3). in_channels are
    the channels of the base's maps, from the finest that is used, c3 in RetinaNet's paper, to the
    coarsest, c5. p6_from is "c5" as in the paper, or "p5" as in torchvision's first RetinaNet. With
    p7_relu=False there is no ReLU before P7, as in MMDetection.
    """

    def __init__(self, in_channels, channels=256, p6_from="c5", p7_relu=True):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        # A 3x3 convolution on each sum reduces the aliasing of the enlarged map (FPN, Sec. 3).
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in in_channels)
        self.p6_from = p6_from
        self.p7_relu = p7_relu
        p6_channels = in_channels[-1] if p6_from == "c5" else channels
        self.p6 = nn.Conv2d(p6_channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # As in Detectron. a=1 stands for a layer without a ReLU after it.
                nn.init.kaiming_uniform_(layer.weight, a=1)
                nn.init.zeros_(layer.bias)

    def forward(self, *base_maps):
        """The base's maps, finest first -> maps with equal channels at the same strides, and two
        coarser ones: c3, c4, c5 -> p3 to p7."""
        maps = [conv(c) for conv, c in zip(self.lateral, base_maps)]
        for i in reversed(range(len(maps) - 1)):
            # From coarse to fine. size, not scale_factor=2: a map of 5 cells becomes one of 3, and
            # twice that would be 6.
            maps[i] = maps[i] + F.interpolate(maps[i + 1], size=maps[i].shape[-2:])
        maps = [conv(m) for conv, m in zip(self.smooth, maps)]
        p6 = halve(self.p6, base_maps[-1] if self.p6_from == "c5" else maps[-1])
        p7 = halve(self.p7, F.relu(p6) if self.p7_relu else p6)
        return *maps, p6, p7


def halve(conv, x):
    """A 3x3 convolution with stride 2, in float32 where bfloat16 goes wrong.

    On a CPU, for a map 1 pixel wide or high, oneDNN (in torch 2.14) computes a wrong gradient of
    the weights in bfloat16: too large by orders of magnitude, or not finite.
    """
    if x.device.type == "cpu" and 1 in x.shape[-2:]:
        with torch.autocast("cpu", enabled=False):
            return conv(x.float())
    return conv(x)
