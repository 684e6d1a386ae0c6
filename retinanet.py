"""RetinaNet: Focal Loss for Dense Object Detection (Lin et al., 2017, arXiv:1708.02002)."""

from math import log, sqrt

import torch
from torch import nn

from layers.fpn import FPN
from layers.priors import apply_heads, make_level, pyramid_priors
from layers.resnet import ResNet, conv_norm_relu

# The stride of each level. Each key is the stride of the finest: 8 in the paper (Sec. 4), 4 for
# small objects.
STRIDES = {8: (8, 16, 32, 64, 128), 4: (4, 8, 16, 32, 64, 128)}
# The side of each level's smallest square prior in pixels. A level has priors of this side times
# each of the SCALES, in each of the RATIOS, width / height.
SIZES = {8: (32, 64, 128, 256, 512), 4: (16, 32, 64, 128, 256, 512)}
SCALES = (2**0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (2.0, 1.0, 0.5)
PRIOR_PROBABILITY = 0.01  # of each class, before training (Sec. 4.1); unrelated to prior boxes
# Mean and standard deviation of ImageNet's pixels, RGB, 0 to 255.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def prior_levels(sizes=(), scales=(), ratios=(), finest=8):
    """The levels, with priors of each size (in pixels), scale and ratio, by default the paper's."""
    sizes = sizes or SIZES[finest]
    scales = scales or SCALES
    ratios = ratios or RATIOS
    levels = []
    # Ratio by ratio, as in torchvision, whose heads then load as they are.
    for stride, size in zip(STRIDES[finest], sizes):
        shapes = [
            (size * scale * sqrt(ratio), size * scale / sqrt(ratio))
            for ratio in ratios
            for scale in scales
        ]
        levels.append(make_level(stride, shapes))
    return tuple(levels)


def group_norm(channels):
    """GroupNorm (Wu & He, 2018, arXiv:1803.08494) of 32 groups, or of fewer: in a map of one cell,
    a group of one channel would be a single value, which says nothing once it is normalised."""
    return nn.GroupNorm(min(32, channels // 2), channels)


class Head(nn.Module):
    """3x3 convolutions with ReLU, then one that predicts (Fig. 3)."""

    def __init__(self, channels, out_channels, num_convs, norm):
        super().__init__()
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(num_convs):
            # A norm has a bias, so a convolution before it needs none.
            conv = nn.Conv2d(channels, channels, 3, padding=1, bias=norm == "none")
            self.convs.append(conv)
            self.norms.append(group_norm(channels) if norm == "group" else nn.Identity())
        self.last = nn.Conv2d(channels, out_channels, 3, padding=1)
        for conv in (*self.convs, self.last):
            nn.init.normal_(conv.weight, std=0.01)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, x):
        """A feature map [B, channels, H, W] -> predictions [B, out_channels, H, W]."""
        for conv, norm in zip(self.convs, self.norms):
            x = conv_norm_relu(conv, norm, x)
        return self.last(x)


class RetinaNet(nn.Module):
    """ResNet, a feature pyramid, and two heads, one for boxes and one for classes, for all levels.

    levels are Levels of layers/priors.py, the finest of stride 8, as in the paper, or 4; all have
    the same number of priors in a cell. base_width is the ResNet's width. channels are those of the
    pyramid and the heads. A head has head_convs convolutions before the last, each followed by a
    norm, "none" or "group". p6_from and p7_relu are FPN's. prior_probability is what an untrained
    class head predicts for each class.
    """

    def __init__(
        self,
        num_classes,
        depth=50,
        levels=(),
        base_width=64,
        channels=256,
        head_convs=4,
        norm="none",
        p6_from="c5",
        p7_relu=True,
        prior_probability=PRIOR_PROBABILITY,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.levels = levels or prior_levels()
        num_shapes = len(self.levels[0].base_priors)

        # mean and std follow from the recipe, so checkpoints need not hold them.
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.base = ResNet(depth, base_width)
        # The pyramid adds P6 and P7 to the base's maps: c3 to c5 for five levels, c2 to c5 for six.
        self.num_base_maps = len(self.levels) - 2
        base_channels = self.base.channels[-self.num_base_maps :]
        self.pyramid = FPN(base_channels, channels, p6_from, p7_relu)
        self.box_head = Head(channels, num_shapes * 4, head_convs, norm)
        self.class_head = Head(channels, num_shapes * num_classes, head_convs, norm)
        # Scores begin low, or the many background priors would dominate the first steps (Sec. 4.1).
        bias = log(prior_probability / (1 - prior_probability))  # its sigmoid is prior_probability
        nn.init.constant_(self.class_head.last.bias, bias)

    def feature_maps(self, images):
        """Pixels [B, 3, H, W] -> the feature maps of all levels, finest first."""
        maps = self.base((images - self.mean) / self.std)
        return self.pyramid(*maps[-self.num_base_maps :])

    def forward(self, images):
        """RGB pixels [B, 3, H, W], 0 to 255 -> box_deltas [B, A, 4], class_logits [B, A, C]."""
        maps = self.feature_maps(images)
        box_deltas = apply_heads([self.box_head] * len(maps), maps, 4)
        class_logits = apply_heads([self.class_head] * len(maps), maps, self.num_classes)
        return box_deltas, class_logits

    def class_layers(self):
        """The layers that predict classes, and the column of the first class."""
        return [self.class_head.last], 0

    def priors(self, image_size):
        """The priors [A, 4] of an image of (height, width): 201,600 for 800 x 1344 pixels."""
        return pyramid_priors(tuple(image_size), self.levels, self.mean.device)

    def scores(self, class_logits):
        """Logits [..., C] -> probabilities [..., C], independent: their sum need not be 1."""
        return class_logits.sigmoid()
