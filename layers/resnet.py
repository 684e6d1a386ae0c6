"""ResNet (He et al., 2016, arXiv:1512.03385), up to the feature maps that a pyramid needs."""

import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

DEPTHS = (18, 34, 50, 101, 152)


class ResNet(nn.Module):
    """torchvision's ResNet, with its names, so that its ImageNet weights load as they are.

    It is v1.5: bottlenecks halve the map in the 3x3 convolution, the authors' in the first 1x1.
    """

    def __init__(self, depth):
        super().__init__()
        resnet = getattr(models, f"resnet{depth}")(weights=None)
        self.conv1, self.bn1 = resnet.conv1, resnet.bn1
        self.relu, self.maxpool = resnet.relu, resnet.maxpool
        self.layer1, self.layer2 = resnet.layer1, resnet.layer2
        self.layer3, self.layer4 = resnet.layer3, resnet.layer4
        # Each of c2 to c5 has twice the channels of the one before.
        self.channels = [resnet.fc.in_features // n for n in (8, 4, 2, 1)]

    def stages(self):
        """Its stages, from the pixels on; train.py can freeze the first ones."""
        stem = nn.ModuleList([self.conv1, self.bn1])
        return [stem, self.layer1, self.layer2, self.layer3, self.layer4]

    def norms(self):
        """Its batch norms."""
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]

    def forward(self, images):
        """[B, 3, H, W] -> c2, c3, c4, c5 at strides 4, 8, 16, 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return c2, c3, c4, c5


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

    def forward(self, x):
        """Feature map [B, channels, H, W] -> the same shape."""
        values = self.running_mean, self.running_var, self.weight, self.bias, self.eps
        return Normalization.apply(x, *values) if x.requires_grad else super().forward(x)


class Normalization(torch.autograd.Function):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias.

    The gradient is our own: on a GPU, torch's is not in channels-last order, and the backward pass
    of the preceding convolution would have to copy it.
    """

    @staticmethod
    def forward(ctx, x, mean, variance, weight, bias, epsilon):
        ctx.save_for_backward(weight * (variance + epsilon).rsqrt())
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=epsilon)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        # Without the cast, the product with a bfloat16 gradient would be float32.
        scale = ctx.saved_tensors[0].to(gradient.dtype)[:, None, None]
        return gradient * scale, None, None, None, None, None
