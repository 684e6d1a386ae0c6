"""RetinaNet: Focal Loss for Dense Object Detection (Lin et al., 2017, https://arxiv.org/abs/1708.02002)."""
from math import log, sqrt

from torch import nn

from layers.fpn import FPN
from layers.heads import Normalize, predict
from layers.priors import centred, pyramid_priors
from layers.resnet import ResNet

STRIDES = (8, 16, 32, 64, 128)
SIZES = (32, 64, 128, 256, 512)  # side in pixels of each level's smallest square. Sec. 4
SCALES = (2 ** 0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)  # height / width
RARE = 0.01  # the probability of an object that every prior starts out believing. Sec. 3.3
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's pixels


def prior_levels(sizes=(), scales=(), ratios=()):
    """Every scale of every ratio of each level's size (Sec. 4); the paper's where nothing else is given."""
    sizes, scales, ratios = sizes or SIZES, scales or SCALES, ratios or RATIOS
    shapes = [(scale / sqrt(ratio), scale * sqrt(ratio)) for ratio in ratios for scale in scales]
    return tuple(centred(stride, [(size * width, size * height) for width, height in shapes])
                 for stride, size in zip(STRIDES, sizes))


def head(channels, out_channels, convs, norm):
    """3x3 convolutions, then one that predicts. The same head reads every level. Fig. 3."""
    layers = []
    for _ in range(convs):
        layers += [nn.Conv2d(channels, channels, 3, padding=1)]
        layers += [nn.GroupNorm(32, channels)] if norm == "group" else []
        layers += [nn.ReLU(inplace=True)]
    layers += [nn.Conv2d(channels, out_channels, 3, padding=1)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


class RetinaNet(nn.Module):
    """ResNet, pyramid, two heads that read every level of it.

    levels are its priors; channels and head_convs are the paper's 256 and 4; norm is "none" or, after each convolution
    of the heads, "group"; frozen_norm keeps the base's batch norm as loaded.
    """

    def __init__(self, num_classes, depth=50, levels=(), channels=256, head_convs=4, norm="none", p6_from="c5",
                 p7_relu=True, frozen_norm=False):
        super().__init__()
        self.num_classes = num_classes
        self.levels = levels or prior_levels()
        shapes = len(self.levels[0].cell)

        self.normalize = Normalize(MEAN, STD)
        self.base = ResNet(depth, frozen_norm)
        self.pyramid = FPN(self.base.channels, channels, p6_from, p7_relu)
        self.box_head = head(channels, shapes * 4, head_convs, norm)
        self.class_head = head(channels, shapes * num_classes, head_convs, norm)
        nn.init.constant_(self.class_head[-1].bias, -log((1 - RARE) / RARE))

    def forward(self, images):
        """Pixels [B, 3, H, W] -> box_deltas [B, A, 4], class_logits [B, A, C]."""
        maps = self.pyramid(*self.base(self.normalize(images)))
        box_deltas = predict([self.box_head] * len(maps), maps, 4)
        class_logits = predict([self.class_head] * len(maps), maps, self.num_classes)
        return box_deltas, class_logits

    def class_layers(self):
        """The convolutions that predict classes, and how many columns of each prior are not a class's."""
        return [self.class_head[-1]], 0

    def priors(self, image_size):
        """(height, width) -> [A, 4]. 800 x 1344 pixels have 201,600."""
        return pyramid_priors(tuple(image_size), self.levels, self.normalize.mean.device)

    def scores(self, class_logits):
        """[B, A, C] -> probabilities [B, A, C]: each class decides alone."""
        return class_logits.sigmoid()
