import pytest
import torch

from layers.resnet import DEPTHS, FrozenBatchNorm2d, ResNet, freeze_batch_norm
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
    torch.testing.assert_close(model.train()(images), expected, rtol=0, atol=0)
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


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_the_gradient_of_frozen_norm_is_torch_s_in_the_format_of_the_images(dtype):
    norm, plain = FrozenBatchNorm2d(5), torch.nn.BatchNorm2d(5).eval()
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        value.data.uniform_(0.5, 2)
    plain.load_state_dict(norm.state_dict())
    x = torch.randn(2, 5, 4, 6).to(dtype, memory_format=torch.channels_last)
    results = []
    for layer in (norm.train(), plain):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        y = layer(leaf)
        # .grad would be copied to the format of its leaf.
        results.append((y, *torch.autograd.grad((y.float() ** 2).sum(), [leaf])))
    (y, gradient), (expected, expected_gradient) = results
    assert torch.equal(y, expected) and y.dtype == gradient.dtype == dtype
    tolerance = {} if dtype == torch.float32 else dict(rtol=0.02, atol=0.02)
    torch.testing.assert_close(gradient, expected_gradient, **tolerance)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
