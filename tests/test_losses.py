import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from layers.boxes import decode, encode
from layers.losses import (
    FocalLoss,
    MultiBoxLoss,
    cost_if_absent,
    count_positives,
    focal_loss,
    mine_hard_negatives,
)
from layers.matching import BACKGROUND, IGNORED
from tests.conftest import make_target

PRIORS = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]])
FOUND = make_target((0, 0, 10, 10, 2))
LABELS = torch.tensor([[0, BACKGROUND, 2, BACKGROUND], [BACKGROUND, 1, 1, 0]])


def predictions(images, classes, scale=1.0):
    return (
        torch.randn(images, 4, 4, requires_grad=True),
        (torch.randn(images, 4, classes) * scale).requires_grad_(),
    )


def test_focal_loss_agrees_with_torchvision():
    deltas, logits = predictions(2, 3, scale=4)
    truth = torch.zeros(2, 4, 3)
    truth[0, 0, 2] = truth[1, 3, 1] = 1
    _, loss = FocalLoss()(deltas, logits, PRIORS, [FOUND, make_target((60, 0, 70, 10, 1))])
    torch.testing.assert_close(
        loss, sigmoid_focal_loss(logits, truth, reduction="sum") / 2, rtol=1e-5, atol=1e-5
    )


def test_focal_box_loss_of_a_known_error():
    # One positive prior, wrong by one unit in one of four deltas: (1 - beta / 2) / 4.
    deltas = torch.zeros(1, 4, 4)
    deltas[0, 0, 0] = 1
    box_loss, _ = FocalLoss()(deltas, torch.zeros(1, 4, 3), PRIORS, [FOUND])
    assert box_loss.item() == pytest.approx((1 - 1 / 18) / 4)


def test_giou_loss_agrees_with_torchvision():
    deltas, logits = predictions(1, 3)
    loss, _ = FocalLoss(box_loss="giou")(deltas, logits, PRIORS, [FOUND])
    expected = generalized_box_iou_loss(
        decode(deltas[0, :1], PRIORS[:1]), FOUND["boxes"], reduction="sum"
    )
    torch.testing.assert_close(loss, expected)


def test_an_untrained_retinanet_starts_near_the_known_loss():
    # Every prior believes in an object with probability 0.01: one positive costs -0.25 * 0.99^2 *
    # ln 0.01 = 1.128.
    logits = torch.full((1, 4, 3), -math.log(99))
    _, loss = FocalLoss()(torch.zeros(1, 4, 4), logits, PRIORS, [FOUND])
    assert loss.item() == pytest.approx(1.128, abs=0.001)


def test_a_confidently_wrong_prior_still_has_a_gradient():
    logits = torch.full((1, 4, 1), 30.0, requires_grad=True)
    FocalLoss()(torch.zeros(1, 4, 4), logits, PRIORS, [make_target()])[1].backward()
    assert (logits.grad > 0.5).all()


def test_empty_images_teach_the_background_and_nothing_else():
    deltas, logits = predictions(2, 3)
    box_loss, class_loss = FocalLoss()(deltas, logits, PRIORS, [make_target(), make_target()])
    assert box_loss == 0 and class_loss > 0
    (box_loss + class_loss).backward()
    assert deltas.grad.abs().max() == 0 and logits.grad.abs().min() > 0


def test_ignored_priors_count_nothing():
    deltas, logits = predictions(1, 3)
    box_loss, class_loss = FocalLoss()(
        deltas, logits, PRIORS, [make_target((15, 0, 35, 10, 0, True))]
    )
    class_loss.backward()
    assert logits.grad[0, 1].abs().max() == 0 and logits.grad[0, 0].abs().min() > 0


def test_losses_are_shared_among_the_positives_of_the_whole_batch():
    deltas, logits = torch.zeros(2, 4, 4), torch.zeros(2, 4, 3)
    both = FocalLoss()(deltas, logits, PRIORS, [FOUND, FOUND])
    alone = FocalLoss()(deltas[:1], logits[:1], PRIORS, [FOUND])
    torch.testing.assert_close(both, alone)


def test_deltas_of_the_true_box_cost_nothing():
    target = make_target((1, 1, 10, 9, 0))
    deltas = encode(target["boxes"].expand(4, 4), PRIORS)[None]
    assert FocalLoss()(deltas, torch.zeros(1, 4, 1), PRIORS, [target])[0] < 1e-9


def test_zero_logits_cost_ln_of_the_classes_for_a_positive_and_its_three_negatives():
    for classes in (2, 20, 80):
        _, loss = MultiBoxLoss()(
            torch.zeros(1, 4, 4),
            torch.zeros(1, 4, 1 + classes),
            PRIORS,
            [FOUND | dict(labels=torch.tensor([1]))],
        )
        assert loss.item() == pytest.approx((1 + 3) * math.log(1 + classes))


@pytest.mark.parametrize("images", (1, 2, 3))
@pytest.mark.parametrize("objects", (0, 1, 4))
def test_multibox_loss_is_finite_for_any_number_of_images_and_objects(images, objects):
    deltas, logits = predictions(images, 4)
    target = make_target(*[(20 * i, 0, 20 * i + 10, 10, i % 3) for i in range(objects)])
    box_loss, class_loss = MultiBoxLoss()(deltas, logits, PRIORS, [target] * images)
    (box_loss + class_loss).backward()
    assert (box_loss > 0) == (objects > 0) and class_loss > 0 and logits.grad.isfinite().all()


def test_the_negatives_kept_are_the_hardest():
    logits = torch.zeros(1, 6, 2, requires_grad=True)
    with torch.no_grad():
        logits[0, :, 1] = torch.tensor([0, 3.0, 1, 5, 2, 4])  # how sure each is of an object
    priors = torch.tensor([[20.0 * i, 0, 20 * i + 10, 10] for i in range(6)])
    MultiBoxLoss()(torch.zeros(1, 6, 4), logits, priors, [make_target((0, 0, 10, 10, 0))])[
        1
    ].backward()
    assert (logits.grad[0].abs().sum(dim=1) > 0).tolist() == [True, True, False, True, False, True]


def test_each_image_has_its_own_negatives():
    logits = torch.zeros(2, 4, 2)
    logits[1, :, 1] = 10
    _, loss = MultiBoxLoss(negatives_per_positive=1)(
        torch.zeros(2, 4, 4), logits, PRIORS, [make_target((0, 0, 10, 10, 0))] * 2
    )
    # One positive and one negative each: ln 2 twice; almost nothing, and almost 10.
    assert loss.item() == pytest.approx((2 * math.log(2) + 10) / 2, abs=1e-3)


def test_an_empty_image_teaches_a_few_negatives():
    logits = torch.zeros(1, 4, 2, requires_grad=True)
    _, loss = MultiBoxLoss()(torch.zeros(1, 4, 4), logits, PRIORS, [make_target()])
    assert loss.item() == pytest.approx(3 * math.log(2))


def test_multibox_never_takes_an_ignored_prior_for_background():
    logits = torch.zeros(1, 4, 2, requires_grad=True)
    MultiBoxLoss()(torch.zeros(1, 4, 4), logits, PRIORS, [make_target((15, 0, 75, 10, 0, True))])[
        1
    ].backward()
    assert (logits.grad[0].abs().sum(dim=1) > 0).tolist() == [True, False, False, False]


def test_multibox_box_loss_of_a_known_error():
    deltas = torch.zeros(1, 4, 4)
    deltas[0, 0] = torch.tensor([2.0, 0, 0, 0.5])
    loss, _ = MultiBoxLoss()(deltas, torch.zeros(1, 4, 4), PRIORS, [FOUND])
    assert loss.item() == pytest.approx((2 - 0.5) + 0.5 * 0.5**2)


@pytest.mark.parametrize(
    "criterion, columns", ((FocalLoss(), 3), (FocalLoss(box_loss="giou"), 3), (MultiBoxLoss(), 4))
)
def test_the_loss_never_waits_for_the_device(criterion, columns):
    """The meta device has no numbers to wait for: whatever asks for one, or for as many as a mask
    has, fails on it."""

    def nowhere(*shape, **kind):
        return torch.empty(*shape, device="meta", **kind)

    targets = [
        dict(
            boxes=nowhere(n, 4),
            labels=nowhere(n, dtype=torch.long),
            ignore=nowhere(n, dtype=torch.bool),
        )
        for n in (2, 0, 1)
    ]
    deltas, logits = (
        nowhere(3, 4, 4, requires_grad=True),
        nowhere(3, 4, columns, requires_grad=True),
    )
    sum(criterion(deltas, logits, nowhere(4, 4), targets)).backward()
    assert deltas.grad.shape == (3, 4, 4) and logits.grad.shape == (3, 4, columns)


class Heads(torch.nn.Module):
    """A network without batch statistics: predictions for four priors, linear in 12 pixels."""

    def __init__(self, columns):
        super().__init__()
        torch.manual_seed(3)
        self.boxes, self.classes = torch.nn.Linear(12, 16), torch.nn.Linear(12, 4 * columns)

    def forward(self, images):
        pixels = images.flatten(1)
        return self.boxes(pixels).view(-1, 4, 4), self.classes(pixels).view(len(images), 4, -1)

    def priors(self, image_size):
        return PRIORS


@pytest.mark.parametrize("criterion, columns", ((FocalLoss(), 3), (MultiBoxLoss(), 4)))
@pytest.mark.parametrize("parts", (1, 2, 4))
def test_losses_and_gradients_are_those_of_the_whole_batch_however_it_is_cut(
    criterion, columns, parts
):
    images = torch.rand(8, 3, 2, 2)
    found = (FOUND, make_target(), make_target((0, 0, 10, 9, 1), (20, 1, 29, 10, 0)))
    targets = [found[i] for i in (0, 1, 2, 1, 1, 1, 2, 0)]
    results = []
    for count in (1, parts):
        model, size, losses = Heads(columns), 8 // count, torch.zeros(2)
        micro_batches = [(images[i : i + size], targets[i : i + size]) for i in range(0, 8, size)]
        num_positives = criterion.count_batch_positives(model, micro_batches)
        for pixels, part in micro_batches:
            loss = criterion(*model(pixels), PRIORS, part, num_positives)
            sum(loss).backward()
            losses += torch.stack(loss).detach()
        results.append([losses, *(value.grad for value in model.parameters())])
    for whole, cut in zip(*results):
        torch.testing.assert_close(cut, whole, rtol=0, atol=1e-6)


def test_positives_are_counted_over_all_parts_and_are_at_least_one():
    labels = torch.tensor([[0, BACKGROUND, 2], [IGNORED, BACKGROUND, 1]])
    assert count_positives(labels) == 3 and count_positives(labels, labels[:1]) == 5
    assert count_positives(torch.full((2, 3), BACKGROUND)) == 1


def test_without_any_object_as_much_background_is_kept_as_for_one():
    kept = mine_hard_negatives(torch.tensor([[1.0, 3, 2, 0, 4]]), torch.full((1, 5), -1), 3)
    message = "an image without objects teaches nothing: it must keep some of its background"
    assert kept.tolist() == [[False, True, True, False, True]], message


def test_hard_negatives_are_the_costliest_background_and_three_for_each_positive():
    labels = torch.tensor([[0, -1, -1, -1, -1, IGNORED], [-1, -1, -1, -1, -1, -1]])
    cost = torch.tensor([[9.0, 1, 4, 2, 3, 8], [5, 6, 1, 2, 3, 4]])
    assert mine_hard_negatives(cost, labels, 3).tolist() == [
        [False, False, True, True, True, False],
        [True, True, False, False, False, True],
    ]


@pytest.mark.parametrize("gamma, weight", ((0.0, 1.0), (1.0, 0.5), (2.0, 0.25)))
def test_gamma_turns_down_a_prior_of_even_odds(gamma, weight):
    _, loss = FocalLoss(gamma=gamma)(
        torch.zeros(1, 4, 4), torch.zeros(1, 4, 1), PRIORS, [make_target()]
    )
    assert loss.item() == pytest.approx(4 * 0.75 * weight * math.log(2))


@pytest.mark.parametrize("criterion, columns", ((FocalLoss, 3), (MultiBoxLoss, 4)))
def test_the_ious_of_matching_are_the_loss_s_to_choose(criterion, columns):
    # Overlaps the first prior by 0.6.
    target = make_target((0, 0, 6, 10, 0))
    labels = []
    for positive_iou in (0.5, 0.7):
        loss = criterion(positive_iou=positive_iou, negative_iou=0.5, force_match=False)
        deltas, logits = predictions(1, columns)
        labels.append(loss(deltas, logits, PRIORS, [target])[0].item())
    assert labels[0] > 0 and labels[1] == 0


def test_by_default_retinanet_ignores_overlaps_of_0_4_to_0_5_and_keeps_every_object():
    priors = PRIORS.clone()
    priors[1] = torch.tensor([0.0, 0, 4.5, 10])
    # The second prior's own object, which overlaps the first by 0.45; a tiny one on the third.
    target = make_target((0, 0, 4.5, 10, 0), (44, 4, 45, 5, 0))
    logits = torch.zeros(1, 4, 1, requires_grad=True)
    FocalLoss()(torch.zeros(1, 4, 4), logits, priors, [target])[1].backward()
    assert logits.grad[0, :, 0].sign().tolist() == [0, -1, -1, 1]


def test_objects_of_the_first_class_bring_negatives_too():
    labels = torch.tensor([[0, 0, -1, -1, -1, -1, -1, -1, -1, -1]])
    assert mine_hard_negatives(torch.rand(1, 10), labels, 3).sum() == 6


@pytest.mark.parametrize("kind, columns", ((FocalLoss, 3), (MultiBoxLoss, 4)))
def test_the_box_loss_has_a_weight_beside_the_class_loss(kind, columns):
    deltas, logits = torch.randn(1, len(PRIORS), 4), torch.randn(1, len(PRIORS), columns)
    target = [make_target((0, 0, 9, 9, 1))]
    plain, weighted = (kind(box_weight=weight)(deltas, logits, PRIORS, target) for weight in (1, 3))
    assert plain[0] > 0 and torch.isclose(weighted[0], 3 * plain[0])
    assert weighted[1] == plain[1]


@pytest.mark.parametrize("alpha, gamma", ((0.25, 2.0), (0.5, 1.0), (0.75, 0.5)))
def test_the_sum_over_all_logits_is_torchvision_s(alpha, gamma):
    logits = torch.randn(2, 4, 3) * 3
    truth = F.one_hot(LABELS.clamp(min=0), 3) * (LABELS >= 0)[..., None]
    expected = sigmoid_focal_loss(logits, truth.float(), alpha, gamma, reduction="sum")
    torch.testing.assert_close(focal_loss(logits, LABELS, alpha, gamma), expected)


def test_without_gamma_focal_loss_is_weighted_cross_entropy():
    logits = torch.randn(2, 4, 3)
    truth = F.one_hot(LABELS.clamp(min=0), 3) * (LABELS >= 0)[..., None]
    expected = F.binary_cross_entropy_with_logits(logits, truth.float(), reduction="sum") / 2
    torch.testing.assert_close(focal_loss(logits, LABELS, 0.5, 0.0), expected)


def test_an_ignored_prior_has_no_focal_loss():
    labels = LABELS.masked_fill(torch.tensor([[True, False, True, False]] * 2), IGNORED)
    logits = torch.randn(2, 4, 3, requires_grad=True)
    focal_loss(logits, labels, 0.25, 2.0).backward()
    assert (logits.grad.abs().sum(dim=-1) == 0).tolist() == [[True, False, True, False]] * 2


def test_a_confident_mistake_stays_finite_and_has_a_gradient():
    logits = torch.tensor([[[200.0, -200.0]]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([[1]]), 0.25, 2.0)
    loss.backward()
    message = "compute -ln(p) from the logit: a probability is rounded to 0 or 1, or clamped"
    assert loss.isfinite() and (logits.grad.abs() > 0.1).all(), message


@pytest.mark.parametrize("logit, cost", ((-1000.0, 0.0), (0.0, 0.25 * 0.6931472), (1000.0, 1000.0)))
def test_the_cost_of_an_absent_class_stays_finite(logit, cost):
    assert cost_if_absent(torch.tensor(logit), 2.0).item() == pytest.approx(cost)
