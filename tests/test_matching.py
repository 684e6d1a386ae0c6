import pytest
import torch

import retinanet
from layers import matching
from layers.boxes import encode, iou
from layers.matching import (
    BACKGROUND,
    IGNORED,
    assign,
    best_priors,
    match,
    stack_targets,
)
from layers.priors import make_level, pyramid_priors
from tests.conftest import make_target

PRIORS = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]])


def matches_of(*objects, **options):
    target = make_target(*objects)
    rules = dict(positive_iou=0.5, negative_iou=0.4) | options
    return match(target["boxes"][None], target["ignore"][None], PRIORS, **rules)[0].tolist()


def choose(overlap):
    """The best priors of objects that overlap all priors as much as this: [B, N, A] or [N, A]."""
    batch = overlap if overlap.dim() == 3 else overlap[None]
    chosen = best_priors(*batch.topk(batch.shape[1])).tolist()
    return chosen if overlap.dim() == 3 else chosen[0]


def test_a_prior_finds_the_object_it_overlaps_most():
    assert matches_of((20, 0, 30, 10, 0), (0, 0, 10, 9, 1)) == [1, 0, BACKGROUND, BACKGROUND]


def test_overlap_between_the_thresholds_is_ignored():
    # 4.5 / 10 of the first prior; the object itself is forced on the second.
    assert matches_of((0, 0, 4.5, 10, 0), force_match=False)[0] == IGNORED
    assert matches_of((0, 0, 3, 10, 0), force_match=False)[0] == BACKGROUND


def test_every_object_gets_a_prior_however_small():
    assert matches_of((44, 4, 45, 5, 0)) == [BACKGROUND, BACKGROUND, 0, BACKGROUND]
    assert matches_of((44, 4, 45, 5, 0), force_match=False) == [BACKGROUND] * 4


def test_two_objects_with_one_best_prior_both_keep_one():
    matches = matches_of((20, 0, 30, 9, 0), (20, 0, 30, 10, 1))
    assert matches[1] == 1 and 0 in matches


def test_the_object_with_the_larger_overlap_keeps_the_prior_that_two_want():
    overlap = torch.tensor([[0.1, 0.9, 0.2], [0.3, 0.8, 0.0]])
    message = (
        "two objects want one prior: the larger overlap keeps it, and the other takes its next "
        "best (the argmax of every object loses one of them)"
    )
    assert choose(overlap) == [1, 0], message


def test_objects_that_no_prior_touches_get_different_ones():
    chosen = choose(torch.zeros(3, 5))
    assert sorted(chosen) == sorted(set(chosen))


def test_the_larger_overlap_chooses_first():
    overlap = torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.7, 0.0], [0.85, 0.75, 0.2]])
    # 0 takes prior 0; of the other two, 2 wants prior 1 more; 1 is left with prior 2.
    assert choose(overlap) == [0, 2, 1]


def greedy(overlap):
    """The definition: the largest overlap of all takes its prior, and so on."""
    overlap, chosen = overlap.clone(), [0] * len(overlap)
    for _ in chosen:
        row, column = divmod(overlap.argmax().item(), overlap.shape[1])
        chosen[row] = column
        overlap[row], overlap[:, column] = -1, -1
    return chosen


def test_the_best_priors_are_all_different_where_objects_compete_in_a_chain():
    overlap = torch.tensor(
        [
            [0.90, 0.10, 0.10, 0.10, 0],
            [0.85, 0.80, 0.10, 0.10, 0],
            [0.75, 0.72, 0.70, 0.10, 0],
            [0.63, 0.62, 0.65, 0.60, 0],
        ]
    )
    assert choose(overlap) == greedy(overlap) == [0, 1, 2, 3]


def test_best_priors_are_those_of_a_plain_double_loop():
    for _ in range(2000):
        objects = torch.randint(1, 8, ()).item()
        overlap = torch.rand(objects, objects + torch.randint(0, 5, ()).item())
        assert choose(overlap) == greedy(overlap)


def crowd(objects, side):
    """Boxes of like size within a square of this side."""
    corner = 100 + torch.rand(objects, 2) * side
    return torch.cat([corner, corner + 6 + 20 * torch.rand(objects, 2)], dim=1)


def test_in_a_crowd_every_object_keeps_a_prior():
    priors = pyramid_priors((256, 256), retinanet.prior_levels())
    for case in range(400):
        boxes = crowd(objects=2 + case % 59, side=4 + case % 37)
        nothing = torch.zeros(1, len(boxes), dtype=torch.bool)
        matches = match(boxes[None], nothing, priors, positive_iou=0.5, negative_iou=0.4)
        assert set(range(len(boxes))) <= set(matches[0].tolist())


def test_in_a_crowd_the_best_priors_are_greedy_too():
    priors = pyramid_priors((256, 256), retinanet.prior_levels())
    for case in range(40):
        overlap = iou(crowd(objects=2 + case % 11, side=4 + case), priors)
        overlap += torch.rand_like(overlap) * 1e-4  # no two are equal
        assert choose(overlap) == greedy(overlap)


def test_objects_to_ignore_take_no_prior_from_others():
    overlap = torch.tensor([[-1.0, -1, -1], [0.5, 0.4, 0.0], [0.6, 0.3, 0.0]])
    assert choose(overlap)[1:] == [1, 0]


def test_a_six_pixel_object_owns_a_prior_that_decodes_back_to_it():
    priors = pyramid_priors(
        (256, 256), (make_level(8, ((32.0, 32.0), (45.0, 23.0))), make_level(16, ((64.0, 64.0),)))
    )
    target = make_target((101, 57, 107, 63, 0))
    labels, boxes = assign([target], priors, positive_iou=0.5, negative_iou=0.4)
    assert (labels == 0).sum() == 1
    assert boxes[labels == 0].tolist() == [[101, 57, 107, 63]]


def test_priors_inside_an_object_to_ignore_are_neither_object_nor_background():
    matches = matches_of((20, 0, 55, 10, 0, True), (0, 0, 10, 10, 1))
    assert matches == [1, IGNORED, IGNORED, BACKGROUND]


def test_an_object_inside_a_crowd_is_still_found():
    assert matches_of((15, 0, 55, 10, 0, True), (20, 0, 30, 10, 1)) == [
        BACKGROUND,
        1,
        IGNORED,
        BACKGROUND,
    ]


def test_an_image_without_objects_is_all_background():
    labels, boxes = assign([make_target()], PRIORS, positive_iou=0.5, negative_iou=0.4)
    assert (labels == BACKGROUND).all()
    assert encode(boxes[0], PRIORS).abs().max() == 0


def test_every_object_of_a_crowded_image_gets_a_prior():
    corner = torch.rand(150, 2) * 250
    boxes = torch.cat([corner, corner + 5], dim=1)
    priors = pyramid_priors((256, 256), (make_level(8, ((32.0, 32.0),)),))
    matches = match(boxes[None], torch.zeros(1, 150, dtype=torch.bool), priors, 0.5, 0.5)
    assert set(range(150)) <= set(matches[0].tolist())
    assert iou(boxes, priors).shape == (150, len(priors))


def test_images_matched_together_are_matched_as_each_alone():
    targets = [
        make_target((0, 0, 9, 10, 4)),
        make_target(),
        make_target((20, 0, 30, 9, 0), (20, 0, 30, 10, 1), (0, 0, 75, 10, 2, True)),
    ]
    boxes, labels, ignore = stack_targets(targets)
    assert boxes.shape == (3, 3, 4) and ignore.tolist() == [
        [False, True, True],
        [True] * 3,
        [False, False, True],
    ]
    together = match(boxes, ignore, PRIORS, 0.5, 0.4)
    assert together.tolist() == [
        match(boxes[[i]], ignore[[i]], PRIORS, 0.5, 0.4)[0].tolist() for i in range(3)
    ]
    assert (
        together[0].tolist() == [0, BACKGROUND, BACKGROUND, BACKGROUND]
        and (together[1] == BACKGROUND).all()
    )
    assert together[2, 1] == 1 and 0 in together[2].tolist()


def test_best_priors_of_several_images_are_those_of_each():
    overlap = torch.rand(4, 5, 9)
    assert choose(overlap) == [choose(one) for one in overlap]


@pytest.mark.parametrize("chunk_size", (1, 1 << 26))
def test_a_crowd_of_images_is_matched_as_each_alone_however_many_at_a_time(monkeypatch, chunk_size):
    monkeypatch.setattr(matching, "MAX_PAIRS", chunk_size)
    priors = pyramid_priors((128, 128), retinanet.prior_levels())
    for case in range(30):
        boxes = torch.stack([crowd(objects=1 + case % 13, side=4 + case) for _ in range(3)])
        ignore = torch.rand(boxes.shape[:2]) < 0.3
        for force_match in (True, False):
            rules = priors, 0.5, 0.4, force_match
            together = match(boxes, ignore, *rules)
            alone = [match(boxes[[i]], ignore[[i]], *rules)[0].tolist() for i in range(3)]
            assert together.tolist() == alone


def test_more_objects_than_priors_leave_the_worst_without_one():
    touching = [(0, 0, 10, 10 - row, row) for row in range(6)]
    assert sorted(matches_of(*touching)) == [0, 1, 2, 3]
    assert matches_of(*touching, (20, 0, 30, 10, 6), (60, 0, 70, 9, 7))[::3] == [0, 7]


def one_after_the_other(overlap, prior):
    """best_priors of one image, by lists: max gives the first of equal places."""
    places = [(row, rank) for row in range(len(overlap)) for rank in range(len(overlap))]
    chosen = [-1] * len(overlap)
    taken = set()
    while places:
        row, rank = max(places, key=lambda place: overlap[place].item())
        if overlap[row, rank] < 0:
            break
        chosen[row] = prior[row, rank].item()
        taken.add(chosen[row])
        places = [(i, k) for i, k in places if i != row and prior[i, k].item() not in taken]
    return chosen


def test_of_equal_overlaps_the_first_object_goes_first_and_ignored_ones_take_none():
    for _ in range(100):
        overlap = torch.randint(0, 4, (2, 6, 9)) / 4
        overlap[torch.rand(2, 6) < 0.2] = -1  # to ignore
        best = overlap.topk(6)
        expected = [one_after_the_other(*image) for image in zip(*best)]
        assert best_priors(*best).tolist() == expected
