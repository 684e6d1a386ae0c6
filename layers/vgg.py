"""VGG-16 (Simonyan & Zisserman, 2015), with convolutions for its first two dense layers."""

from torch import nn


def convolution(in_channels, out_channels, norm, kernel=3, padding=0, dilation=1):
    """A convolution, then batch norm if norm is "batch". Otherwise an Identity stands in its place,
    so that layers have the same names with and without."""
    # It keeps its bias before batch norm, since published VGGs have one.
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation)
    return [conv, nn.BatchNorm2d(out_channels) if norm == "batch" else nn.Identity()]


def stage(in_channels, out_channels, convs, norm):
    """3x3 convolutions with ReLU between them; VGG.forward applies the last ReLU."""
    layers = convolution(in_channels, out_channels, norm, padding=1)
    for _ in range(convs - 1):
        layers.append(nn.ReLU(inplace=True))
        layers += convolution(out_channels, out_channels, norm, padding=1)
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """VGG-16 as SSD uses it (SSD, Sec. 3).

    pool5 no longer halves the map, so fc6 (in self.fc) is dilated to cover nearly as many pixels as
    in VGG-16.

    norm is "none", as in the papers, or "batch", with which random weights come as far as
    ImageNet's (ScratchDet, Zhu et al., 2019, arXiv:1810.08425: mAP 77.8 instead of 77.2 on VOC07).
    width is the channels of the first layer, 64 in the paper: those of all others are multiples.
    """

    def __init__(self, norm="none", width=64):
        super().__init__()
        self.channels = (8 * width, 16 * width)  # of conv4 and fc7
        self.conv1 = stage(3, width, 2, norm)
        self.conv2 = stage(width, 2 * width, 2, norm)
        self.conv3 = stage(2 * width, 4 * width, 3, norm)
        self.conv4 = stage(4 * width, 8 * width, 3, norm)
        self.conv5 = stage(8 * width, 8 * width, 3, norm)
        self.fc = nn.Sequential(
            *convolution(8 * width, 16 * width, norm, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            *convolution(16 * width, 16 * width, norm, kernel=1),
            nn.ReLU(inplace=True),
        )
        self.relu = nn.ReLU(inplace=True)
        # ceil_mode turns a map of 75 cells into 38, as in the paper, not 37.
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.pool5 = nn.MaxPool2d(3, stride=1, padding=1)

    def stages(self):
        """Its stages, from the pixels on; train.py can freeze the first ones."""
        return [self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.fc]

    def norms(self):
        """Its batch norms, of which the papers' VGG has none."""
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]

    def convolutions(self):
        """VGG-16's thirteen convolutions in order, then fc6 and fc7."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]

    def forward(self, images):
        """[B, 3, H, W] -> conv4 [B, 8 width, H / 8, W / 8], fc7 [B, 16 width, H / 16, W / 16], with
        sides rounded up."""
        # The paper has ReLU before pooling. The result is the same, with a quarter of the values.
        x = self.relu(self.pool(self.conv1(images)))
        x = self.relu(self.pool(self.conv2(x)))
        x = self.relu(self.pool(self.conv3(x)))
        conv4 = self.relu(self.conv4(x))
        x = self.relu(self.conv5(self.pool(conv4)))
        return conv4, self.fc(self.pool5(x))
