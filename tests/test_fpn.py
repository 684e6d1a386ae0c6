import pytest
import torch

from layers.fpn import FPN

STRIDES = (8, 16, 32, 64, 128)


def features(height, width, channels=(8, 16, 32)):
    return [torch.randn(2, c, -(-height // s), -(-width // s)) for c, s in zip(channels, STRIDES)]


@pytest.mark.parametrize("height, width", ((128, 160), (100, 225), (32, 32), (33, 250)))
def test_there_are_five_maps_of_equal_channels_each_half_the_one_before(height, width):
    maps = FPN((8, 16, 32), channels=12)(*features(height, width))
    sizes = [(2, 12, -(-height // stride), -(-width // stride)) for stride in STRIDES]
    assert [tuple(x.shape) for x in maps] == sizes


def test_what_the_top_sees_reaches_the_bottom_and_not_the_other_way():
    pyramid = FPN((8, 16, 32), channels=12)
    c3, c4, c5 = features(64, 64)
    before = pyramid(c3, c4, c5)
    after_top, after_bottom = pyramid(c3, c4, c5 + 1), pyramid(c3 + 1, c4, c5)
    assert all(not torch.equal(*pair) for pair in zip(before, after_top))
    assert not torch.equal(before[0], after_bottom[0])
    assert all(torch.equal(*pair) for pair in zip(before[1:], after_bottom[1:]))


@pytest.mark.parametrize("side, channels", (("c5", 32), ("p5", 12)))
def test_p6_is_made_of_what_it_is_said_to_be(side, channels):
    assert FPN((8, 16, 32), channels=12, p6_from=side).p6.in_channels == channels


@pytest.mark.parametrize(
    "height, width", ((32, 32), (64, 32), (32, 96), (64, 64), (96, 64), (96, 96))
)
def test_gradients_of_small_maps_are_those_of_float32_in_bfloat16_too(height, width):
    torch.manual_seed(1)
    pyramid = FPN((64, 128, 256), channels=64)
    maps = features(height, width, (64, 128, 256))
    gradients = []
    for enabled in (False, True):
        pyramid.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = sum(x.float().square().mean() for x in pyramid(*maps))
        loss.backward()
        gradients.append({name: value.grad for name, value in pyramid.named_parameters()})
    for name, expected in gradients[0].items():
        error = (gradients[1][name] - expected).norm() / expected.norm()
        assert error < 0.1, name


def test_the_levels_are_added_up_from_the_top():
    """With every convolution made the identity, a map is the sum of those above it."""
    pyramid = FPN((1, 1, 1), channels=1)
    for conv in (*pyramid.lateral, *pyramid.smooth):
        torch.nn.init.dirac_(conv.weight)
    sides_and_values = ((8, 1.0), (4, 10.0), (2, 100.0))
    c3, c4, c5 = (torch.full((1, 1, side, side), value) for side, value in sides_and_values)
    p3, p4, p5, _, _ = pyramid(c3, c4, c5)
    assert (p5 == 100).all() and (p4 == 110).all() and (p3 == 111).all()


def test_it_starts_without_biases_and_with_signals_of_even_strength():
    for layer in FPN((64, 64, 64), channels=64).modules():
        if isinstance(layer, torch.nn.Conv2d):
            assert not layer.bias.any()
            fan_in = layer.weight[0].numel()
            assert abs(layer.weight.std() * fan_in**0.5 - 1) < 0.1
