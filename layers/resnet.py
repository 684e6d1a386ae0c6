"""ResNet (He et al., 2016, arXiv:1512.03385), up to the feature maps that a pyramid needs."""

from torch import nn
from torch.nn import functional as F
from torchvision import models

from layers.fast import can_fuse, fast_conv_relu


class BasicBlock(models.resnet.BasicBlock):
    """The block of ResNet-18 and 34 (Fig. 5, left): two 3x3 convolutions, then the input is added.

    The layers are torchvision's; forward() is ours, so that a frozen norm can be folded into its
    convolution.
    """

    def forward(self, x):
        y = conv_norm_relu(self.conv1, self.bn1, x)
        shortcut = conv_norm(*self.downsample, x) if self.downsample else x
        return conv_norm_relu(self.conv2, self.bn2, y, shortcut)


class Bottleneck(models.resnet.Bottleneck):
    """The block of the deeper ones (Fig. 5, right): 1x1 to fewer channels, 3x3, 1x1 to four times
    as many."""

    def forward(self, x):
        y = conv_norm_relu(self.conv1, self.bn1, x)
        y = conv_norm_relu(self.conv2, self.bn2, y)
        shortcut = conv_norm(*self.downsample, x) if self.downsample else x
        return conv_norm_relu(self.conv3, self.bn3, y, shortcut)


# The block of each depth, and how many of them conv2 to conv5 have (Table 1).
DEPTHS = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """ResNet with torchvision's names, so that its ImageNet weights load as they are.

    As there, a bottleneck halves the map in its 3x3 convolution; the paper's, in its first 1x1.
    width is the channels of the first layer, 64 in the paper: those of all others are multiples.
    layer1 to layer4 are the paper's conv2 to conv5, and return c2 to c5.
    """

    def __init__(self, depth, width=64):
        super().__init__()
        block, num_blocks = DEPTHS[depth]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        # Each of c2 to c5 has twice the channels of the one before.
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.channels = [block.expansion * n for n in widths]
        self.layer1 = make_stage(block, width, widths[0], num_blocks[0], stride=1)
        self.layer2 = make_stage(block, self.channels[0], widths[1], num_blocks[1], stride=2)
        self.layer3 = make_stage(block, self.channels[1], widths[2], num_blocks[2], stride=2)
        self.layer4 = make_stage(block, self.channels[2], widths[3], num_blocks[3], stride=2)
        # A detector needs no classifier. But torchvision draws random numbers for it here: with
        # this, the same seed gives the weights of torchvision's ResNet.
        nn.Linear(self.channels[3], 1000)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def stages(self):
        """Its stages, from the pixels on; train.py can freeze the first ones."""
        stem = nn.ModuleList([self.conv1, self.bn1])
        return [stem, self.layer1, self.layer2, self.layer3, self.layer4]

    def norms(self):
        """Its batch norms."""
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]

    def forward(self, images):
        """[B, 3, H, W] -> c2, c3, c4, c5 at strides 4, 8, 16, 32."""
        x = self.maxpool(conv_norm_relu(self.conv1, self.bn1, images))
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return c2, c3, c4, c5


def make_stage(block, in_channels, width, num_blocks, stride):
    """The blocks of one stage, of which the first divides the size of the map by stride."""
    out_channels = block.expansion * width
    shortcut = None
    if stride > 1 or in_channels != out_channels:
        # What is added to the first block's result must have its shape.
        conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_channels))
    first = block(in_channels, width, stride, shortcut)
    return nn.Sequential(first, *[block(out_channels, width) for _ in range(num_blocks - 1)])


def freeze_batch_norm(module):
    """Replace every batch norm in a module by a frozen one: fixed statistics, weight and bias.

    The few images of a detection batch estimate the statistics badly. Call it for pretrained
    weights only: the statistics of random weights must be able to change.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, child.eps)
            frozen.load_state_dict(child.state_dict())
            setattr(module, name, frozen.to(child.weight.device))
        else:
            freeze_batch_norm(child)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """torch's batch norm, always in evaluation mode, whose parameters do not learn."""

    def __init__(self, num_features, eps=1e-5):
        super().__init__(num_features, eps)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode=True):
        # model.train() calls this on every layer, but the statistics must stay fixed.
        return super().train(False)


def conv_norm(conv, norm, x):
    """norm(conv(x)). A frozen norm is folded into the convolution; see fold()."""
    if isinstance(norm, FrozenBatchNorm2d):
        return F.conv2d(x, *fold(conv, norm), conv.stride, conv.padding)
    return norm(conv(x))


def conv_norm_relu(conv, norm, x, residual=None):
    """relu(norm(conv(x)) + residual), where norm may be nn.Identity()."""
    if isinstance(norm, (FrozenBatchNorm2d, nn.Identity)) and can_fuse(x):
        return fast_conv_relu(x, *fold(conv, norm), conv.stride, conv.padding, residual)
    x = conv_norm(conv, norm, x)
    if residual is not None:
        x = x + residual
    return F.relu(x, inplace=True)


def fold(conv, norm):
    """The weight and bias of a single convolution that does what conv and then norm do.

    A frozen norm computes scale * y + shift, which a convolution can do too, at hardly any cost.
    A conv before a norm has no bias of its own.
    """
    if isinstance(norm, nn.Identity):
        return conv.weight, conv.bias
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
