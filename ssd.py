"""SSD: Single Shot MultiBox Detector (Liu et al., 2016, arXiv:1512.02325).

layers/priors.py explains priors; layers/boxes.py, boxes and the letters used in shapes.
"""

from math import sqrt

import torch
from torch import nn
from torch.nn import functional as F

from layers.priors import apply_heads, make_level, pyramid_priors
from layers.vgg import VGG

# For images of 300 and of 512 pixels, one value per feature map, finest first (Eq. 4 and Sec. 3.1,
# as in the authors' release for VOC). STRIDES are the pixels between neighbouring cells of a map.
STRIDES = {300: (8, 16, 32, 64, 100, 300), 512: (8, 16, 32, 64, 128, 256, 512)}
# SIZES are the sides of the square priors in pixels. There is one more than there are maps, because
# the side of a map's larger square prior is the geometric mean of its size and the next.
SIZES = {
    300: (30, 60, 111, 162, 213, 264, 315),
    512: (35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8, 537.6),
}
# RATIOS are width / height of the priors that are not square.
TWO_RATIOS = (2, 1 / 2)
FOUR_RATIOS = (2, 1 / 2, 3, 1 / 3)
RATIOS = {
    300: (TWO_RATIOS, *[FOUR_RATIOS] * 3, TWO_RATIOS, TWO_RATIOS),
    512: (TWO_RATIOS, *[FOUR_RATIOS] * 4, TWO_RATIOS, TWO_RATIOS),
}
# The feature maps after fc7: their channels, and the options of the convolution that makes each
# map smaller than the one before: half the side, 2 cells less, or 1 cell less.
HALVE = dict(stride=2, padding=1)
SHRINK_BY_2 = dict()  # the defaults: 3x3, no padding
SHRINK_BY_1 = dict(kernel=4, padding=1)
EXTRAS = {
    300: ((512, HALVE), (256, HALVE), (256, SHRINK_BY_2), (256, SHRINK_BY_2)),
    512: ((512, HALVE), (256, HALVE), (256, HALVE), (256, HALVE), (256, SHRINK_BY_1)),
}
# The mean of the pixels that VGG was trained on. We also divide by STD, which VGG did not, so
# loading VGG's weights multiplies those of the first layer by it.
MEAN = (123.0, 117.0, 104.0)
STD = (58.395, 57.12, 57.375)


def prior_shapes(size, next_size, ratios):
    """(width, height) in pixels of a square, a slightly larger square, and a box of each ratio."""
    larger_size = sqrt(size * next_size)
    shapes = [(size, size), (larger_size, larger_size)]
    for ratio in ratios:
        shapes.append((size * sqrt(ratio), size / sqrt(ratio)))
    return tuple(shapes)


def prior_levels(side, sizes=(), ratios=()):
    """The levels of an image of this side, with the paper's sizes and ratios by default."""
    sizes = sizes or SIZES[side]
    ratios = ratios or RATIOS[side]
    levels = []
    for stride, size, next_size, level_ratios in zip(STRIDES[side], sizes, sizes[1:], ratios):
        levels.append(make_level(stride, prior_shapes(size, next_size, level_ratios)))
    return tuple(levels)


def extra_layers(in_channels, out_channels, kernel=3, stride=1, padding=0):
    """A 1x1 convolution to half the channels, then one that makes the map smaller (Fig. 2)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels // 2, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels // 2, out_channels, kernel, stride, padding),
        nn.ReLU(inplace=True),
    )


class SSD(nn.Module):
    """VGG-16, a few smaller feature maps after it, and two heads for every map, a convolution each.

    num_classes excludes the background. side is that of the images, 300 or 512 pixels. levels are
    Levels of layers/priors.py, by default the paper's. norm and base_width are VGG's.
    """

    def __init__(self, num_classes, side=300, levels=(), norm="none", base_width=64):
        super().__init__()
        self.num_classes = num_classes
        self.levels = levels or prior_levels(side)

        # mean and std follow from the recipe, so checkpoints need not hold them.
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.base = VGG(norm, base_width)
        # conv4 (conv4_3 in the paper) has larger values than the other maps, so the channels of
        # each cell are normalised to length 1 and multiplied by a learned scale, 20 at first (Sec.
        # 3.1).
        channels = [*self.base.channels]
        self.scale = nn.Parameter(torch.full((channels[0],), 20.0))
        self.extras = nn.ModuleList()
        for out_channels, conv in EXTRAS[side]:
            self.extras.append(extra_layers(channels[-1], out_channels, **conv))
            channels.append(out_channels)
        self.box_heads = nn.ModuleList()
        self.class_heads = nn.ModuleList()
        for in_channels, level in zip(channels, self.levels):
            num_shapes = len(level.base_priors)
            num_logits = num_shapes * (1 + num_classes)  # 1 for the background
            self.box_heads.append(nn.Conv2d(in_channels, num_shapes * 4, 3, padding=1))
            self.class_heads.append(nn.Conv2d(in_channels, num_logits, 3, padding=1))
        self.initialize()

    def initialize(self):
        """Use He initialisation. With Xavier's, as the paper has for new layers, a random VGG does
        not learn at all; with He's, it learns well if it has batch norm."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        for head in (*self.box_heads, *self.class_heads):
            # Weights this small make all 1 + C classes about equally probable at first: the loss
            # of a prior starts near ln(1 + C).
            nn.init.normal_(head.weight, std=0.001)

    def feature_maps(self, images):
        """Pixels [B, 3, H, W] -> the feature maps of all levels, finest first."""
        conv4, fc7 = self.base((images - self.mean) / self.std)
        maps = [self.scale[:, None, None] * F.normalize(conv4), fc7]
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps

    def forward(self, images):
        """RGB pixels [B, 3, H, W], 0 to 255 -> box_deltas [B, A, 4], class_logits [B, A, 1 + C].

        Column 0 of the logits is the background.
        """
        maps = self.feature_maps(images)
        box_deltas = apply_heads(self.box_heads, maps, 4)
        class_logits = apply_heads(self.class_heads, maps, 1 + self.num_classes)
        return box_deltas, class_logits

    def class_layers(self):
        """The layers that predict classes, and the column of the first class, after background."""
        return [*self.class_heads], 1

    def priors(self, image_size):
        """The priors [A, 4] of an image of (height, width): 8,732 in SSD300, 24,564 in SSD512."""
        return pyramid_priors(tuple(image_size), self.levels, self.mean.device)

    def scores(self, class_logits):
        """Logits [..., 1 + C] -> probabilities [..., C]. The classes compete with each other and
        with the background, which is then dropped."""
        return class_logits.softmax(dim=-1)[..., 1:]
