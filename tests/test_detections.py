import pytest
import torch
from torchvision.ops import batched_nms, nms

from layers.boxes import iou
from layers.detections import best_survivors, detections, topk_per_level


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


def found_in(boxes, scores, **options):
    """Detections of boxes that are their own priors, on an image that holds them all."""
    return detections(
        torch.zeros_like(boxes), scores, boxes, (100, 100), torch.clone, [len(boxes)], **options
    )


def test_each_class_is_suppressed_on_its_custom():
    boxes, scores = random_predictions()
    found = found_in(boxes, scores, score_threshold=0.3)
    for label in range(3):
        sure = (scores[:, label] > 0.3).nonzero()[:, 0]
        expected = scores[sure, label][slow_nms(boxes[sure], scores[sure, label], 0.5)]
        torch.testing.assert_close(found["scores"][found["labels"] == label], expected)


def test_one_class_agrees_with_torchvision():
    boxes, scores = random_predictions(classes=1)
    found = found_in(boxes, scores, score_threshold=0)
    torch.testing.assert_close(found["boxes"], boxes[nms(boxes, scores[:, 0], 0.5)])


def test_the_best_come_first_and_no_more_than_the_limit():
    found = found_in(*random_predictions(), max_detections=7)
    assert len(found["scores"]) == 7
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


def test_only_the_best_candidates_are_looked_at():
    boxes, scores = random_predictions()
    found = found_in(boxes, scores, pre_nms_topk=5, nms_iou=1.0)
    torch.testing.assert_close(found["scores"], scores.flatten().sort(descending=True).values[:5])


def test_nothing_above_the_threshold_is_no_detection():
    found = found_in(*random_predictions(), score_threshold=2.0)
    assert found["boxes"].shape == (0, 4) and found["scores"].shape == found["labels"].shape == (0,)


def brute_force(scores, groups, count, min_score):
    """Scores that are among the best of their group: [A, C] and the group of each -> sorted."""
    kept = [
        scores[groups == group].sort(descending=True).values[:count] for group in groups.unique()
    ]
    kept = torch.cat(kept)
    return kept[kept > min_score].sort(descending=True).values


def test_so_many_candidates_of_every_level_are_looked_at():
    boxes, scores = random_predictions(priors=300, classes=4)
    groups = torch.tensor([0] * 200 + [1] * 95 + [2] * 5)[:, None].expand(-1, 4)
    found = detections(
        torch.zeros_like(boxes),
        scores,
        boxes,
        (100, 100),
        torch.clone,
        [200, 95, 5],
        nms_iou=1.0,
        pre_nms_topk=50,
        score_threshold=0.6,
        max_detections=999,
    )
    torch.testing.assert_close(found["scores"], brute_force(scores, groups, 50, 0.6))
    torch.testing.assert_close(
        scores[torch.cdist(found["boxes"], boxes).argmin(dim=1), found["labels"]], found["scores"]
    )


@pytest.mark.parametrize("k", (1, 7, 500))
def test_the_best_of_every_level_are_those_of_sorting_all_its_scores(k):
    scores = torch.rand(300, 4)
    prior, label, score = topk_per_level(scores, torch.clone, [200, 95, 5], k)
    expected = [part.flatten().sort(descending=True) for part in scores.split([200, 95, 5])]
    assert torch.equal(score, torch.cat([values[:k] for values, _ in expected]))
    first = (0, 4 * 200, 4 * 295)
    places = [start + order[:k] for start, (_, order) in zip(first, expected)]
    assert torch.equal(4 * prior + label, torch.cat(places))


def test_so_many_candidates_of_every_class_are_looked_at():
    boxes, scores = random_predictions(priors=300, classes=4)
    groups = torch.arange(4).expand(300, -1)
    found = detections(
        torch.zeros_like(boxes),
        scores,
        boxes,
        (100, 100),
        torch.clone,
        nms_iou=1.0,
        pre_nms_topk=50,
        score_threshold=0.6,
        max_detections=999,
    )
    torch.testing.assert_close(found["scores"], brute_force(scores, groups, 50, 0.6))
    torch.testing.assert_close(
        scores[torch.cdist(found["boxes"], boxes).argmin(dim=1), found["labels"]], found["scores"]
    )


def test_boxes_are_cut_at_the_border():
    found = detections(
        torch.zeros(1, 4), torch.ones(1, 1), torch.tensor([[-5.0, 2, 30, 8]]), (6, 20), torch.clone
    )
    assert found["boxes"].tolist() == [[0, 2, 20, 6]]


@pytest.mark.parametrize("levels", (None, [2, 2]))
def test_boxes_outside_the_image_are_no_detections_and_take_no_place_of_others(levels):
    boxes = torch.tensor([[10.0, 0, 20, 10], [25, 0, 40, 10], [25, 0, 39, 10], [0, -9, 8, -2]])
    scores = torch.tensor([[0.3], [0.9], [0.8], [0.7]])
    rules = dict(level_counts=levels, max_detections=1)
    found = detections(torch.zeros(4, 4), scores, boxes, (20, 20), torch.clone, **rules)
    assert found["boxes"].tolist() == [[10, 0, 20, 10]]


@pytest.mark.parametrize("count", (1, 5, 60, 1000))
@pytest.mark.parametrize("nms_iou", (0.1, 0.5))
def test_the_best_survivors_are_those_of_all_boxes(count, nms_iou):
    corner = torch.rand(600, 2) * 60
    boxes = torch.cat([corner, corner + 10 + 30 * torch.rand(600, 2)], dim=1)
    scores, labels = torch.rand(600), torch.randint(0, 3, (600,))
    expected = batched_nms(boxes, scores, labels, nms_iou)[:count]
    assert torch.equal(best_survivors(boxes, scores, labels, nms_iou, count), expected)
    assert len(best_survivors(boxes[:0], scores[:0], labels[:0], nms_iou, count)) == 0
