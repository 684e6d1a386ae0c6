"""Feature Pyramid Network (Lin et al., 2017, https://arxiv.org/abs/1612.03144), with RetinaNet's P6 and P7."""
from torch import nn
from torch.nn import functional as F


class FPN(nn.Module):
    """Walk back down the pyramid, adding what the top understood to what the bottom still sees (Sec. 3, Fig. 3).

    p6_from is "c5" as in RetinaNet's paper, or "p5" as in torchvision's first release; MMDetection has no ReLU before
    P7, where the paper does. Accuracy is the same.
    """

    def __init__(self, in_channels, channels=256, p6_from="c5", p7_relu=True):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        self.p6_from, self.p7_relu = p6_from, p7_relu
        self.p6 = nn.Conv2d(in_channels[-1] if p6_from == "c5" else channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_uniform_(conv.weight, a=1)
                nn.init.zeros_(conv.bias)

    def forward(self, c3, c4, c5):
        """Strides 8, 16, 32 -> five maps of equal channels, strides 8 to 128."""
        m3, m4, m5 = (conv(c) for conv, c in zip(self.lateral, (c3, c4, c5)))
        m4 = m4 + F.interpolate(m5, size=m4.shape[-2:])
        m3 = m3 + F.interpolate(m4, size=m3.shape[-2:])
        p3, p4, p5 = (conv(m) for conv, m in zip(self.smooth, (m3, m4, m5)))
        p6 = self.p6(c5 if self.p6_from == "c5" else p5)
        p7 = self.p7(F.relu(p6) if self.p7_relu else p6)
        return p3, p4, p5, p6, p7
