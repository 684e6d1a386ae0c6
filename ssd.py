"""SSD: Single Shot MultiBox Detector (Liu et al., 2016, https://arxiv.org/abs/1512.02325)."""
from math import sqrt

import torch
from torch import nn
from torch.nn import functional as F

from layers.heads import Normalize, predict
from layers.priors import centred, pyramid_priors
from layers.vgg import VGG

# By the side of the image: strides; sizes, the side in pixels of each level's smaller square, of which the next level's
# makes the larger one; longer over shorter side of its other boxes. Sec. 2.2, Eq. 4; the authors' release for VOC.
STRIDES = {300: (8, 16, 32, 64, 100, 300), 512: (8, 16, 32, 64, 128, 256, 512)}
SIZES = {300: (30, 60, 111, 162, 213, 264, 315), 512: (35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8, 537.6)}
RATIOS = {300: ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)), 512: ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,))}
# The maps after fc7: channels, and what makes each smaller than the last.
HALVE, CROP, CROP_4 = dict(stride=2, padding=1), dict(), dict(kernel=4, padding=1)
EXTRAS = {300: ((512, HALVE), (256, HALVE), (256, CROP), (256, CROP)),
          512: ((512, HALVE), (256, HALVE), (256, HALVE), (256, HALVE), (256, CROP_4))}
# The pixels' mean that VGG was trained with. It had no deviation: its weights take ours into their first layer.
MEAN, STD = (123.0, 117.0, 104.0), (58.395, 57.12, 57.375)


def prior_shapes(size, next_size, ratios):
    """A square, a slightly larger square, then a lying and a standing box per ratio, (width, height) in pixels."""
    shapes = [(size, size), (sqrt(size * next_size), sqrt(size * next_size))]
    for ratio in ratios:
        long, short = size * sqrt(ratio), size / sqrt(ratio)
        shapes += [(long, short), (short, long)]
    return tuple(shapes)


def prior_levels(side, sizes=(), ratios=()):
    """The priors of each level; the published ones for images of this side where nothing else is given."""
    sizes, ratios = sizes or SIZES[side], ratios or RATIOS[side]
    return tuple(centred(stride, prior_shapes(*shape))
                 for stride, *shape in zip(STRIDES[side], sizes, sizes[1:], ratios))


def shrink(in_channels, out_channels, kernel=3, stride=1, padding=0):
    """A 1x1 convolution to half the channels, then one that makes the map smaller. Fig. 2."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels // 2, 1), nn.ReLU(inplace=True),
        nn.Conv2d(out_channels // 2, out_channels, kernel, stride, padding), nn.ReLU(inplace=True),
    )


class SSD(nn.Module):
    """VGG-16, a few more maps, and a pair of heads for each map.

    side is 300 or 512 pixels, and levels are its priors.
    """

    def __init__(self, num_classes, side=300, levels=()):
        super().__init__()
        self.num_classes = num_classes
        self.levels = levels or prior_levels(side)

        self.normalize = Normalize(MEAN, STD)
        self.base = VGG()
        self.scale = nn.Parameter(torch.full((512,), 20.0))  # conv4_3 is louder than the rest. Sec. 3.1
        channels = [*self.base.channels]
        self.extras = nn.ModuleList()
        for out_channels, conv in EXTRAS[side]:
            self.extras.append(shrink(channels[-1], out_channels, **conv))
            channels.append(out_channels)
        shapes = [len(level.cell) for level in self.levels]
        self.box_heads = nn.ModuleList(nn.Conv2d(c, s * 4, 3, padding=1) for c, s in zip(channels, shapes))
        self.class_heads = nn.ModuleList(
            nn.Conv2d(c, s * (1 + num_classes), 3, padding=1) for c, s in zip(channels, shapes))
        self.initialize()

    def initialize(self):
        """Signals of even strength in all layers, without which a VGG from random weights does not learn at all."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        for head in (*self.box_heads, *self.class_heads):
            # Small enough that no class is believed in at first, and the loss begins at (1 + 3) ln(1 + C).
            nn.init.normal_(head.weight, std=0.001)

    def features(self, images):
        """Pixels [B, 3, H, W] -> the maps of all levels, finest first."""
        conv4, fc7 = self.base(self.normalize(images))
        maps = [self.scale[:, None, None] * F.normalize(conv4), fc7]
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps

    def forward(self, images):
        """Pixels [B, 3, H, W] -> box_deltas [B, A, 4], class_logits [B, A, 1 + C], column 0 the background."""
        maps = self.features(images)
        box_deltas = predict(self.box_heads, maps, 4)
        class_logits = predict(self.class_heads, maps, 1 + self.num_classes)
        return box_deltas, class_logits

    def class_layers(self):
        """The convolutions that predict classes, and how many columns of each prior are not a class's."""
        return [*self.class_heads], 1

    def priors(self, image_size):
        """(height, width) -> [A, 4]. SSD300 has 8,732, SSD512 24,564."""
        return pyramid_priors(tuple(image_size), self.levels, self.normalize.mean.device)

    def scores(self, class_logits):
        """[B, A, 1 + C] -> probabilities [B, A, C]: classes compete, the background among them, which is dropped."""
        return class_logits.softmax(dim=-1)[..., 1:]
