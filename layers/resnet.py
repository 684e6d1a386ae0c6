"""ResNet (He et al., 2016, https://arxiv.org/abs/1512.03385): torchvision's, up to the three maps a pyramid needs."""
from torch import nn
from torchvision import models

DEPTHS = (18, 34, 50, 101, 152)


class ResNet(nn.Module):
    """Names follow torchvision, so that its ImageNet weights load as they are.

    frozen keeps batch norm as it was loaded, statistics and affine values both: the few images of a detection batch
    estimate them badly. It is meant for pretrained weights; random statistics must stay free to move.
    """

    def __init__(self, depth, frozen=False):
        super().__init__()
        resnet = getattr(models, f"resnet{depth}")(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4
        self.channels = [resnet.fc.in_features // 4, resnet.fc.in_features // 2, resnet.fc.in_features]
        self.frozen = frozen
        for norm in self.norms():
            norm.requires_grad_(not frozen)

    def stages(self):
        """Its parts from the pixels up, as many of which may be kept from learning."""
        return [nn.ModuleList([self.conv1, self.bn1]), self.layer1, self.layer2, self.layer3, self.layer4]

    def norms(self):
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]

    def train(self, mode=True):
        """As every module's train(), but frozen batch norm stays as it is."""
        super().train(mode)
        for norm in self.norms():
            norm.train(mode and not self.frozen)
        return self

    def forward(self, images):
        """[B, 3, H, W] -> c3, c4, c5 at strides 8, 16, 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        c3 = self.layer2(self.layer1(x))
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return c3, c4, c5
