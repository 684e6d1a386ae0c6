import pytest
import torch

from layers.losses import FocalLoss
from layers.priors import grid_size
from retinanet import MEAN, STD, RetinaNet, prior_levels
from tests.conftest import make_target


def tiny(**options):
    return RetinaNet(3, **(dict(depth=18, channels=32, head_convs=1) | options))


@pytest.mark.parametrize("channels, groups", ((32, 16), (64, 32), (256, 32)))
def test_a_group_of_a_norm_has_two_values_even_in_a_single_cell(channels, groups):
    norm = tiny(channels=channels, norm="group").box_head.norms[0]
    assert norm.num_groups == groups
    cell = torch.arange(channels * 1.0).view(1, channels, 1, 1)
    assert norm(cell).abs().min() > 0.1


def test_800_by_1344_pixels_have_201600_priors():
    assert tiny().priors((800, 1344)).shape == (201_600, 4)


def test_the_first_priors_are_the_papers():
    first = tiny().priors((64, 64))[:9]
    width, height = (first[:, 2:] - first[:, :2]).T
    torch.testing.assert_close((width * height).sqrt(), torch.tensor([32, 40.3175, 50.7968] * 3))
    torch.testing.assert_close(height / width, torch.tensor([0.5] * 3 + [1] * 3 + [2] * 3))
    assert (first[3] + 12).tolist() == [0, 0, 32, 32]


def test_parameters_are_as_many_as_torchvisions():
    model = RetinaNet(91, 50, p6_from="p5")
    norms = sum(value.numel() for norm in model.base.norms() for value in norm.parameters())
    assert sum(value.numel() for value in model.parameters()) - norms == 34_014_999


@pytest.mark.parametrize("size", ((64, 96), (65, 33)))
def test_every_prior_has_its_prediction(size):
    deltas, logits = tiny()(torch.zeros(2, 3, *size))
    priors = tiny().priors(size)
    assert deltas.shape == (2, len(priors), 4) and logits.shape == (2, len(priors), 3)


@pytest.mark.parametrize("ratios", ((1.0,), (1.0, 2.0), (0.2, 0.5, 1.0, 2.0, 5.0)))
def test_heads_follow_the_prior_shapes(ratios):
    model = tiny(levels=prior_levels(scales=(1.0, 1.5), ratios=ratios))
    assert model(torch.zeros(1, 3, 64, 64))[1].shape[1] == len(model.priors((64, 64)))


def test_an_untrained_network_believes_in_little():
    scores = tiny().scores(tiny()(torch.randint(0, 256, (1, 3, 64, 64)))[1])
    assert 0.005 < scores.mean() < 0.02


def test_bytes_and_floats_are_the_same_image():
    model, images = tiny().eval(), torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(model(images), model(images.float()))


def test_the_base_is_given_pixels_minus_their_mean_over_their_deviation():
    model = tiny()
    given = []
    model.base.register_forward_pre_hook(lambda base, inputs: given.append(inputs[0]))
    pixels = torch.tensor(MEAN) + torch.tensor([1.0, 2.0, 3.0]) * torch.tensor(STD)
    model(pixels.view(1, 3, 1, 1).expand(1, 3, 64, 64))
    torch.testing.assert_close(given[0][0, :, 5, 7], torch.tensor([1.0, 2.0, 3.0]))


def test_a_checkpoint_holds_no_mean_and_no_priors():
    assert not [name for name in tiny().state_dict() if name in ("mean", "std") or "prior" in name]


def test_group_norm_stands_behind_each_convolution_of_the_heads():
    assert (
        sum(
            isinstance(layer, torch.nn.GroupNorm)
            for layer in tiny(norm="group", head_convs=2).modules()
        )
        == 4
    )


def test_ten_steps_on_one_image_halve_the_loss():
    model, criterion = (
        tiny(levels=prior_levels((16, 32, 64, 128, 256)), norm="group", channels=64),
        FocalLoss(),
    )
    images, targets = torch.randint(0, 256, (1, 3, 64, 64)), [make_target((10, 10, 40, 40, 1))]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = sum(criterion(*model(images), model.priors((64, 64)), targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    "finest, strides", ((8, (8, 16, 32, 64, 128)), (4, (4, 8, 16, 32, 64, 128)))
)
def test_the_finest_level_has_stride_8_or_4_and_every_map_its_priors(finest, strides):
    levels = prior_levels(finest=finest)
    assert tuple(level.stride for level in levels) == strides
    model, size = tiny(levels=levels).eval(), (96, 160)
    maps = model.feature_maps(torch.zeros(1, 3, *size))
    assert [tuple(x.shape[-2:]) for x in maps] == [grid_size(size, level) for level in levels]
    box_deltas, _ = model(torch.zeros(1, 3, *size))
    assert box_deltas.shape[1] == len(model.priors(size))


def test_a_finer_level_has_priors_of_half_the_size_and_changes_no_other():
    finer, paper = prior_levels(finest=4), prior_levels()
    assert finer[1:] == paper
    widths = [right - left for left, _, right, _ in finer[0].base_priors]
    wider = [right - left for left, _, right, _ in paper[0].base_priors]
    assert widths == pytest.approx([width / 2 for width in wider])


def test_what_the_stem_sees_reaches_the_finer_level_directly():
    """Without the deeper stages, p2 still changes with the image; p3 does not."""
    model = tiny(levels=prior_levels(finest=4)).eval()
    for stage in (model.base.layer2, model.base.layer3, model.base.layer4):
        for value in stage.parameters():
            value.data.zero_()
    first, second = (model.feature_maps(torch.full((1, 3, 64, 64), v)) for v in (0.0, 200.0))
    assert not torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
