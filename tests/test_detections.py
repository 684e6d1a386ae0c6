import torch
from torchvision.ops import nms

from layers.boxes import iou
from layers.detections import detections


def slow_nms(boxes, scores, max_iou):
    """What NMS means: the best box stays, what overlaps it too much goes, and so on."""
    rest, kept = scores.argsort(descending=True).tolist(), []
    while rest:
        kept.append(rest[0])
        rest = [i for i in rest[1:] if iou(boxes[rest[:1]], boxes[[i]]).item() <= max_iou]
    return kept


def random_predictions(priors=60, classes=3):
    corner = torch.rand(priors, 2) * 40
    return torch.cat([corner, corner + 20], dim=1), torch.rand(priors, classes)


def test_each_class_is_suppressed_on_its_own():
    boxes, scores = random_predictions()
    found = detections(boxes, scores, min_score=0.3)
    for label in range(3):
        sure = (scores[:, label] > 0.3).nonzero()[:, 0]
        expected = scores[sure, label][slow_nms(boxes[sure], scores[sure, label], 0.5)]
        torch.testing.assert_close(found["scores"][found["labels"] == label], expected)


def test_one_class_agrees_with_torchvision():
    boxes, scores = random_predictions(classes=1)
    found = detections(boxes, scores, min_score=0)
    torch.testing.assert_close(found["boxes"], boxes[nms(boxes, scores[:, 0], 0.5)])


def test_the_best_come_first_and_no_more_than_the_limit():
    found = detections(*random_predictions(), limit=7)
    assert len(found["scores"]) == 7
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


def test_only_the_best_candidates_are_looked_at():
    boxes, scores = random_predictions()
    found = detections(boxes, scores, candidates=5, max_iou=1.0)
    torch.testing.assert_close(found["scores"], scores.flatten().sort(descending=True).values[:5])


def test_nothing_above_the_threshold_is_no_detection():
    found = detections(*random_predictions(), min_score=2.0)
    assert found["boxes"].shape == (0, 4) and found["scores"].shape == found["labels"].shape == (0,)
