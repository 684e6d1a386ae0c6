import pytest
import torch
import torchvision
from torch import nn

from layers.resnet import (
    DEPTHS,
    FrozenBatchNorm2d,
    ResNet,
    conv_norm,
    conv_norm_relu,
    freeze_batch_norm,
)
from tests.test_retinanet import tiny


def test_frozen_norm_stays_frozen_through_train():
    model = tiny()
    freeze_batch_norm(model.base)
    model.train()
    before = {
        name: value.clone() for name, value in model.base.state_dict().items() if "running" in name
    }
    model(torch.randint(0, 256, (2, 3, 64, 64)))
    assert all(torch.equal(value, model.base.state_dict()[name]) for name, value in before.items())
    assert not any(
        value.requires_grad for norm in model.base.norms() for value in norm.parameters()
    )


def test_freezing_batch_norm_keeps_what_was_loaded_and_the_names_of_a_checkpoint():
    model = tiny().eval()
    for norm in model.base.norms():
        for value in (norm.running_mean, norm.running_var, norm.weight.data):
            value.uniform_(0.5, 2)
        norm.eps = 1e-3
    images = torch.randint(0, 256, (1, 3, 64, 64))
    expected = model(images)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    freeze_batch_norm(model.base)
    torch.testing.assert_close(model.train()(images), expected, rtol=1e-4, atol=1e-4)
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert len(model.base.norms()) == 20


def test_without_freezing_everything_learns():
    model = tiny().train()
    before = model.base.bn1.running_mean.clone()
    model(torch.randint(0, 256, (2, 3, 64, 64)))
    assert not torch.equal(before, model.base.bn1.running_mean)
    assert all(value.requires_grad for value in model.parameters())


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_gives_four_maps(depth):
    base = ResNet(depth).eval()
    maps = base(torch.zeros(1, 3, 64, 96))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (c, 64 // s, 96 // s) for c, s in zip(base.channels, (4, 8, 16, 32))
    ]


def test_its_names_are_torchvision_s_but_for_the_classifier():
    from torchvision.models import resnet50

    names = {name for name in resnet50(weights=None).state_dict() if not name.startswith("fc.")}
    assert set(ResNet(50).state_dict()) == names


@pytest.mark.parametrize("depth", DEPTHS)
def test_its_maps_are_those_of_torchvision(depth):
    theirs = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
    ours = ResNet(depth).eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    images = torch.rand(1, 3, 64, 96)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
    for layer, our_map in zip((1, 2, 3, 4), ours(images)):
        x = getattr(theirs, f"layer{layer}")(x)
        assert torch.equal(our_map, x)


@pytest.mark.parametrize("depth", (18, 50))
def test_random_weights_are_those_of_torchvision(depth):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f"resnet{depth}")(weights=None).state_dict()
    torch.manual_seed(0)
    ours = ResNet(depth).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_base_of_half_the_width_has_half_the_channels_everywhere(depth):
    whole, half = ResNet(depth).state_dict(), ResNet(depth, width=32)
    for name, value in half.state_dict().items():
        halved = [n if n in (1, 3, 7) else n // 2 for n in whole[name].shape]
        assert list(value.shape) == halved
    assert [one.shape[1] for one in half(torch.zeros(1, 3, 64, 64))] == half.channels


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_a_frozen_norm_becomes_part_of_its_convolution(dtype):
    conv, norm = nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False), FrozenBatchNorm2d(5)
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        value.data.uniform_(0.5, 2)
    x = torch.randn(2, 3, 8, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    results = []
    for function in (conv_norm, lambda conv, norm, x: norm(conv(x))):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            y = function(conv, norm, x)
        gradients = torch.autograd.grad((y.float() ** 2).sum(), [x, conv.weight])
        results.append((y, *gradients))
    tolerance = {} if dtype == torch.float32 else dict(rtol=0.05, atol=0.5)
    torch.testing.assert_close(*results, **tolerance)
    assert results[0][0].dtype == dtype
    assert results[0][0].is_contiguous(memory_format=torch.channels_last)


def test_a_residual_is_added_before_relu():
    conv, norm = nn.Conv2d(1, 1, 1), nn.Identity()
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)
    x = torch.tensor([[[[1.0, -1.0, -3.0]]]])
    y = conv_norm_relu(conv, norm, x, residual=torch.full_like(x, 2))
    assert y.tolist() == [[[[3.0, 1.0, 0.0]]]]
