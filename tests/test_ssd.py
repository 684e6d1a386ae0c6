import math

import numpy as np
import pytest
import torch

from layers.boxes import xyxy_to_cxcywh
from layers.detections import detections
from layers.losses import MultiBoxLoss
from ssd import MEAN, SIZES, SSD, STD, prior_levels
from tests.conftest import make_target
from utils.recipes import RECIPES


def test_ssd300_has_8732_priors_and_ssd512_24564():
    assert SSD(20).priors((300, 300)).shape == (8732, 4)
    assert SSD(20, side=512).priors((512, 512)).shape == (24564, 4)


def test_first_and_last_priors_are_the_published():
    priors = SSD(20, levels=prior_levels(300, RECIPES["ssd300_coco"].prior_sizes)).priors(
        (300, 300)
    )
    assert priors[0].tolist() == [-6.5, -6.5, 14.5, 14.5]
    # Standing 1:2, of size 261, in the middle of the image.
    width, height = 261 / math.sqrt(2), 261 * math.sqrt(2)
    assert priors[-1].tolist() == pytest.approx(
        [150 - width / 2, 150 - height / 2, 150 + width / 2, 150 + height / 2]
    )


def test_the_base_is_given_pixels_minus_their_mean_over_their_deviation():
    model = SSD(2)
    given = []
    model.base.register_forward_pre_hook(lambda base, inputs: given.append(inputs[0]))
    pixels = torch.tensor(MEAN) + torch.tensor([1.0, 2.0, 3.0]) * torch.tensor(STD)
    with torch.no_grad():
        model(pixels.view(1, 3, 1, 1).expand(1, 3, 300, 300))
    torch.testing.assert_close(given[0][0, :, 5, 7], torch.tensor([1.0, 2.0, 3.0]))


def test_ssd300_has_as_many_parameters_as_published():
    assert sum(value.numel() for value in SSD(90).parameters()) == 35_641_826


@pytest.mark.parametrize("side, count", ((300, 8732), (512, 24564)))
def test_every_prior_has_its_prediction(side, count):
    with torch.no_grad():
        deltas, logits = SSD(2, side).eval()(torch.zeros(1, 3, side, side, dtype=torch.uint8))
    assert deltas.shape == (1, count, 4) and logits.shape == (1, count, 3)


def test_priors_do_not_depend_on_the_number_of_classes():
    torch.testing.assert_close(SSD(20).priors((300, 300)), SSD(3).priors((300, 300)))


def test_sizes_and_ratios_of_ones_own_change_heads_and_priors_together():
    model = SSD(
        2,
        levels=prior_levels(
            300,
            (10, 20, 40, 80, 160, 240, 300),
            ((2, 1 / 2, 3, 1 / 3, 4, 1 / 4), (), (2,), (2,), (2,), (2,)),
        ),
    )
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 300, 300))[0].shape[1] == len(model.priors((300, 300)))
    width, height = xyxy_to_cxcywh(model.priors((300, 300))[:8])[:, 2:].T
    torch.testing.assert_close(width / height, torch.tensor([1, 1, 2, 1 / 2, 3, 1 / 3, 4, 1 / 4]))
    assert width[1] == pytest.approx(math.sqrt(10 * 20))


def test_conv4_is_normalised_to_the_learned_scale():
    maps = SSD(2).feature_maps(torch.randint(0, 256, (1, 3, 300, 300)))
    torch.testing.assert_close(maps[0].norm(dim=1), torch.full((1, 38, 38), 20.0))


def test_scores_leave_the_background_out():
    scores = SSD(2).scores(torch.tensor([[[5.0, 0, 0], [0, 5, 0]]]))
    assert scores.shape == (1, 2, 2) and scores[0, 0].max() < 0.01 and scores[0, 1, 0] > 0.98


def test_an_untrained_network_starts_near_the_known_loss():
    model = SSD(20)
    deltas, logits = model(torch.randint(0, 256, (2, 3, 300, 300)))
    targets = [make_target((50, 50, 150, 150, 3))] * 2
    _, class_loss = MultiBoxLoss()(deltas, logits, model.priors((300, 300)), targets)
    assert class_loss.item() == pytest.approx(4 * math.log(21), rel=0.1)


def test_sizes_are_one_more_than_levels():
    assert len(SIZES[300]) == 7 and len(SIZES[512]) == 8


def test_a_detection_survives_the_way_through_decode_and_nms():
    model = SSD(2)
    priors = model.priors((300, 300))
    scores = torch.zeros(len(priors), 2)
    scores[[5000, 5001], 1] = torch.tensor([0.9, 0.8])
    found = detections(
        torch.zeros(len(priors), 4),
        scores,
        priors,
        (300, 300),
        torch.clone,
        score_threshold=0.01,
        nms_iou=0.45,
    )
    assert found["scores"][0] == pytest.approx(0.9) and found["labels"].unique().tolist() == [1]
    np.testing.assert_allclose(found["boxes"][0], priors[5000])
