"""Non-maximum suppression, which layers/detections.py takes from torchvision."""

import torch

from layers.detections import batched_nms
from tests.test_detections import slow_nms

BOXES = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [0, 0, 10, 10]])


def kept(scores, labels, iou_threshold=0.5):
    return batched_nms(
        BOXES[: len(scores)], torch.tensor(scores), torch.tensor(labels), iou_threshold
    ).tolist()


def test_of_two_boxes_on_one_object_the_better_stays():
    assert kept([0.8, 0.9, 0.3], [0, 0, 0]) == [1, 2], "the best box stays, and comes first"


def test_boxes_of_another_class_are_not_suppressed():
    found = kept([0.8, 0.9, 0.3, 0.7], [0, 0, 0, 1])
    assert found == [1, 3, 2], "a box was suppressed by one of another class: NMS is done per class"


def test_an_overlap_of_just_the_threshold_is_not_too_much():
    overlap = 9 / 11
    assert kept([0.8, 0.9], [0, 0], iou_threshold=overlap + 1e-4) == [1, 0]
    assert kept([0.8, 0.9], [0, 0], iou_threshold=overlap - 1e-4) == [1]


def test_a_suppressed_box_suppresses_nothing():
    boxes = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
    found = batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3).long(), 0.4)
    assert found.tolist() == [0, 2], "only a box that stays may suppress others"


def test_no_boxes_leave_none():
    empty = batched_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), 0.5)
    assert empty.shape == (0,)


def test_it_is_a_plain_loop_over_each_class():
    corner = torch.rand(80, 2) * 40
    boxes, scores = torch.cat([corner, corner + 20], dim=1), torch.rand(80)
    labels = torch.randint(3, (80,))
    found = batched_nms(boxes, scores, labels, 0.5)
    assert scores[found].tolist() == sorted(scores[found].tolist(), reverse=True)
    for label in range(3):
        (rows,) = (labels == label).nonzero(as_tuple=True)
        expected = rows[slow_nms(boxes[rows], scores[rows], 0.5)]
        assert found[labels[found] == label].tolist() == expected.tolist()
