"""SSD300 computes what ssd.pytorch computed, with the same weights on the same images."""

import itertools

import pytest
import torch

from layers.boxes import cxcywh_to_xyxy, encode
from layers.detections import detections
from layers.losses import MultiBoxLoss
from published.load import convert_checkpoint
from tests.figures import assert_relative, figures, pixels, published_state
from utils.build import build_detector
from utils.checkpoint import recipe_of

FIGURES = figures("ssd300_voc")


@pytest.fixture(scope="module")
def model():
    ours, _ = convert_checkpoint(published_state(FIGURES))
    model, _ = build_detector(recipe_of(ours), 20)
    model.load_state_dict(ours["model"])
    return model.eval()


@pytest.fixture(scope="module")
def outputs(model):
    """The figures were made with stronger logits, for untrained ones are all alike."""
    with torch.no_grad():
        deltas, logits = model(pixels(FIGURES, model, std=(1.0, 1.0, 1.0)))
    return deltas, logits * float(FIGURES["logit_scale"])


def targets():
    for name in ("targets0", "targets1"):
        rows = torch.from_numpy(FIGURES[name])
        yield dict(
            boxes=rows[:, :4] * 300,
            labels=rows[:, 4].long(),
            ignore=torch.zeros(len(rows), dtype=torch.bool),
        )


def test_raw_outputs_are_the_same(outputs):
    deltas, logits = outputs
    assert_relative(deltas[:, :: int(FIGURES["every"])], FIGURES["deltas"])
    assert_relative(logits[:, :: int(FIGURES["every"])], FIGURES["logits"])


def test_priors_are_the_same(model):
    """ssd.pytorch clamps centres and sides to the image, which narrows a few boxes of the last two
    levels."""
    theirs = cxcywh_to_xyxy(torch.from_numpy(FIGURES["priors_cxcywh"]) * 300)
    torch.testing.assert_close(model.priors((300, 300)), theirs, rtol=1e-4, atol=1e-3)


def test_losses_are_the_same(model, outputs):
    deltas, logits = outputs
    box_loss, class_loss = MultiBoxLoss()(deltas, logits, model.priors((300, 300)), [*targets()])
    assert box_loss.item() == pytest.approx(float(FIGURES["loss_box"]), rel=1e-4)
    assert class_loss.item() == pytest.approx(float(FIGURES["loss_cls"]), rel=1e-4)


def test_detections_are_the_same(model, outputs):
    """Its figures hold the 50 best of each class, cut at no border.

    An overlap or a score that is just a threshold falls on either side of it, by the processor's
    rounding, and takes some that depend on it along: one in fifty may differ.
    """
    deltas, logits = outputs
    total, same = 0, 0
    for image, label in itertools.product(range(2), range(20)):
        scores = model.scores(logits[image])[:, [label]]
        found = detections(
            deltas[image],
            scores,
            model.priors((300, 300)),
            None,
            torch.clone,
            nms_iou=0.45,
            pre_nms_topk=200,
            score_threshold=float(FIGURES["conf_thresh"]),
            max_detections=50,
        )
        theirs = torch.from_numpy(FIGURES["detections"][image, 1 + label])
        theirs = theirs[theirs[:, 0] > 0]
        expected = torch.cat([theirs[:, :1] * 300, theirs[:, 1:] * 300], dim=1)
        ours = torch.cat([found["scores"][:, None] * 300, found["boxes"]], dim=1)
        apart = (ours[:, None] - expected).abs().amax(dim=2)
        total += max(len(ours), len(theirs))
        same += int((apart < 0.03).any(dim=0).sum())
    assert total > 1000 and same > 0.98 * total, (same, total)


def test_encoding_is_the_same_as_theirs():
    from layers.boxes import DELTA_SCALE

    assert DELTA_SCALE == (0.1, 0.1, 0.2, 0.2)
    assert encode(torch.tensor([[2.0, 0, 22, 10]]), torch.tensor([[0.0, 0, 20, 10]])).tolist() == [
        [1, 0, 0, 0]
    ]
