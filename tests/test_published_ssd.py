"""SSD300 computes what ssd.pytorch computed, with the same weights on the same images."""
import itertools

import pytest
import torch

from layers.boxes import cxcywh_to_xyxy, decode, encode, xyxy_to_cxcywh
from layers.detections import detections
from layers.losses import MultiBoxLoss
from ssd import SSD
from tests.published import assert_relative, figures, pixels, published_state
from utils.families import convert

FIGURES = figures("ssd300_voc")


@pytest.fixture(scope="module")
def model():
    model = SSD(20).eval()
    model.load_state_dict(convert(published_state(FIGURES))[0])
    return model


@pytest.fixture(scope="module")
def outputs(model):
    """The figures were made with stronger logits, for untrained ones are all alike."""
    with torch.no_grad():
        deltas, logits = model(pixels(FIGURES, model, std=(1.0, 1.0, 1.0)))
    return deltas, logits * float(FIGURES["logit_scale"])


@pytest.fixture(scope="module")
def published_priors():
    """ssd.pytorch clamps centres and sides to the image, which narrows a few boxes of the last two levels. We do not."""
    return cxcywh_to_xyxy(torch.from_numpy(FIGURES["priors_cxcywh"]) * 300)


def targets():
    for name in ("targets0", "targets1"):
        rows = torch.from_numpy(FIGURES[name])
        yield dict(boxes=rows[:, :4] * 300, labels=rows[:, 4].long(), ignore=torch.zeros(len(rows), dtype=torch.bool))


def test_raw_outputs_are_the_same(outputs):
    deltas, logits = outputs
    assert_relative(deltas[:, ::int(FIGURES["every"])], FIGURES["deltas"])
    assert_relative(logits[:, ::int(FIGURES["every"])], FIGURES["logits"])


def test_priors_are_the_same_but_for_the_clamp(model):
    ours = (xyxy_to_cxcywh(model.priors((300, 300))) / 300).clamp(0, 1)
    torch.testing.assert_close(ours, torch.from_numpy(FIGURES["priors_cxcywh"]), rtol=1e-4, atol=1e-5)


def test_losses_are_the_same(outputs, published_priors):
    deltas, logits = outputs
    box_loss, class_loss = MultiBoxLoss()(deltas, logits, published_priors, [*targets()])
    assert box_loss.item() == pytest.approx(float(FIGURES["loss_box"]), rel=1e-4)
    assert class_loss.item() == pytest.approx(float(FIGURES["loss_cls"]), rel=1e-4)


def test_detections_are_the_same(model, outputs, published_priors):
    """Class by class, for ssd.pytorch looks at 200 candidates of each, where we look at so many of all together."""
    deltas, logits = outputs
    for image, label in itertools.product(range(2), range(20)):
        scores = model.scores(logits[image])[:, [label]]
        found = detections(decode(deltas[image], published_priors), scores, min_score=float(FIGURES["conf_thresh"]),
                           max_iou=0.45, candidates=200, limit=50)
        theirs = torch.from_numpy(FIGURES["detections"][image, 1 + label])
        theirs = theirs[theirs[:, 0] > 0]
        torch.testing.assert_close(found["scores"], theirs[:, 0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["boxes"], theirs[:, 1:] * 300, rtol=1e-4, atol=1e-3)


def test_encoding_is_the_same_as_theirs():
    from layers.boxes import DELTA_SCALE
    assert DELTA_SCALE == (0.1, 0.1, 0.2, 0.2)
    assert encode(torch.tensor([[2.0, 0, 22, 10]]), torch.tensor([[0.0, 0, 20, 10]])).tolist() == [[1, 0, 0, 0]]
