import math

import torch
from torchvision.ops import box_iou, generalized_box_iou

from layers.boxes import (
    MAX_SIZE_RATIO,
    area,
    clip,
    cxcywh_to_xyxy,
    decode,
    encode,
    giou,
    intersection,
    iou,
    xyxy_to_cxcywh,
)


def random_boxes(count):
    corner, size = torch.rand(count, 2) * 100, torch.rand(count, 2) * 50 + 1
    return torch.cat([corner, corner + size], dim=1)


def test_iou_agrees_with_torchvision():
    boxes, others = random_boxes(30), random_boxes(40)
    torch.testing.assert_close(iou(boxes, others), box_iou(boxes, others), rtol=0, atol=1e-5)


def test_giou_agrees_with_torchvision():
    boxes, others = random_boxes(30), random_boxes(30)
    torch.testing.assert_close(
        giou(boxes, others), generalized_box_iou(boxes, others).diag(), rtol=0, atol=1e-5
    )


def test_iou_of_no_boxes_is_empty():
    assert iou(torch.zeros(0, 4), random_boxes(3)).shape == (0, 3)
    assert intersection(random_boxes(3)[:, None], torch.zeros(0, 4)).shape == (3, 0)


def test_boxes_that_only_touch_share_nothing():
    boxes = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10]])
    found = iou(boxes, boxes).tolist()
    assert found == [[1, 0], [0, 1]], "a box is right - left wide: there is no + 1 in it"


def test_decode_undoes_encode():
    boxes, priors = random_boxes(50), random_boxes(50)
    torch.testing.assert_close(decode(encode(boxes, priors), priors), boxes, rtol=0, atol=1e-3)


def test_encode_agrees_with_torchvision():
    from torchvision.models.detection._utils import BoxCoder

    boxes, priors = random_boxes(20), random_boxes(20)
    torch.testing.assert_close(
        encode(boxes, priors),
        BoxCoder((10, 10, 5, 5)).encode_single(boxes, priors),
        rtol=1e-5,
        atol=1e-5,
    )


def test_one_delta_is_a_tenth_of_the_prior():
    moved = decode(torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[0.0, 0, 20, 10]]))
    assert moved.tolist() == [[2, 0, 22, 10]]


def test_no_delta_makes_a_box_infinite():
    decoded = decode(torch.tensor([[0.0, 0, 1e9, 1e9]]), torch.tensor([[0.0, 0, 10, 10]]))
    assert math.isclose(area(decoded).item(), (10 * MAX_SIZE_RATIO) ** 2, rel_tol=1e-4)


def test_both_notations_say_the_same():
    boxes = random_boxes(10)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


def test_clip_cuts_at_all_four_borders():
    assert clip(torch.tensor([[-5.0, -5, 300, 300]]), (100, 200)).tolist() == [[0, 0, 200, 100]]


def test_a_batch_of_boxes_is_coded_as_each_of_its_images():
    boxes, priors = random_boxes(12).view(3, 4, 4), random_boxes(4)
    deltas = encode(boxes, priors)
    for i in range(3):
        torch.testing.assert_close(deltas[i], encode(boxes[i], priors))
        torch.testing.assert_close(decode(deltas, priors)[i], decode(deltas[i], priors))
    torch.testing.assert_close(decode(deltas, priors), boxes, rtol=0, atol=1e-3)


def test_no_box_is_decoded_to_more_than_62_5_times_its_prior():
    """Detectron's limit, 1000 / 16: an anchor of 16 pixels grows to 1000 at most."""
    decoded = decode(torch.tensor([[0.0, 0, 99, 99]]), torch.tensor([[0.0, 0, 2, 2]]))
    torch.testing.assert_close(decoded[0, 2] - decoded[0, 0], torch.tensor(125.0))
