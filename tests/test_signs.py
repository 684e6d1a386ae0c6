import numpy as np
import pytest

from tests.conftest import make_records
from utils.evaluation.errors import explain
from utils.evaluation.signs import common_offset, exchanged_classes, go_together, largest_step

NAMES = ("cat", "cow", "dog")
BOXES = np.array([[10, 10, 50, 50], [60, 60, 90, 90], [10, 60, 40, 90]], np.float32)


def scene(guesses, truth=("cat", "cow", "dog"), moved=(0, 0), score=0.9):
    """Images with three objects, of which each guess is the labels of the detections, in order."""
    objects = [(*box.tolist(), name) for box, name in zip(BOXES, truth)]
    records = make_records([((100, 100), objects)] * len(guesses), NAMES)
    boxes = BOXES + np.array([*moved, *moved], np.float32)
    detections = {
        image: dict(boxes=boxes, scores=np.full(3, score), labels=np.array(labels))
        for image, labels in enumerate(guesses)
    }
    return records, detections, explain(records, detections)


RIGHT, EXCHANGED, MIXED = (0, 1, 2), (1, 0, 2), (1, 1, 2)


def test_images_whose_two_classes_are_all_detected_the_other_way_round_are_named():
    guesses = [RIGHT] * 15
    guesses[1] = guesses[3] = guesses[4] = EXCHANGED
    assert exchanged_classes(scene(guesses)[2], 0.5) == [(0, 1, [1, 3, 4])]


def test_they_are_named_though_the_detector_makes_errors_of_its_own():
    guesses = [EXCHANGED] * 10 + [MIXED] * 6 + [RIGHT] * 20
    assert exchanged_classes(scene(guesses)[2], 0.5) == [(0, 1, list(range(10)))]


def test_where_all_are_exchanged_all_are_named():
    assert exchanged_classes(scene([EXCHANGED] * 3)[2], 0.5) == [(0, 1, [0, 1, 2])]


@pytest.mark.parametrize(
    "guesses",
    (
        [RIGHT] * 9,
        [MIXED] * 9,
        [EXCHANGED] * 3 + [MIXED] * 9 + [RIGHT] * 3,
        [EXCHANGED] * 2 + [RIGHT] * 20,
    ),
)
def test_confused_classes_are_not_exchanged_ones(guesses):
    assert exchanged_classes(scene(guesses)[2], 0.5) == []


def test_animals_of_one_image_that_are_taken_for_others_together_are_no_exchange():
    """Herds of one class look alike: all of a herd is right, or all of it wrong."""
    herds = [EXCHANGED] * 5 + [RIGHT] * 20
    _, _, explained = scene(herds, truth=("cat", "cat", "dog"))
    assert exchanged_classes(explained, 0.5) == []
    guesses = [(1, 1, 2)] * 5 + [(0, 0, 2)] * 20
    assert exchanged_classes(scene(guesses, truth=("cat", "cat", "dog"))[2], 0.5) == []


def test_independent_errors_are_hardly_ever_taken_for_exchanged_names():
    random, taken = np.random.default_rng(0), 0
    objects = np.full(100, 3)
    for _ in range(1000):
        taken += go_together(random.binomial(objects, 0.3), objects)
    assert taken < 10
    half_exchanged = np.where(np.arange(100) % 2, 0.2, 0.8)
    together = [go_together(random.binomial(objects, half_exchanged), objects) for _ in range(100)]
    assert sum(together) > 95


def test_uncertain_detections_accuse_no_annotation():
    assert exchanged_classes(scene([EXCHANGED] * 9, score=0.3)[2], 0.5) == []


def test_only_the_surest_detection_of_an_object_counts():
    records, detections, _ = scene([RIGHT] * 9)
    for image in detections.values():
        image["boxes"] = np.concatenate([image["boxes"]] * 2)
        image["labels"] = np.concatenate([image["labels"], EXCHANGED])
        image["scores"] = np.repeat([0.9, 0.8], 3)
    assert exchanged_classes(explain(records, detections), 0.5) == []


@pytest.mark.parametrize("moved", ((8, 0), (0, -6), (5, 5)))
def test_boxes_that_lie_beside_the_objects_are_measured(moved):
    offset = common_offset(*scene([RIGHT] * 9, moved=moved), 0.5)
    assert offset == pytest.approx(moved)


def test_boxes_that_lie_on_both_sides_have_no_offset():
    records, detections, _ = scene([RIGHT] * 10)
    for image, found in detections.items():
        found["boxes"] = found["boxes"] + (6 if image % 2 else -6)
    assert common_offset(records, detections, explain(records, detections), 0.5) == (0, 0)


def test_small_offsets_and_few_detections_say_nothing():
    assert common_offset(*scene([RIGHT] * 9, moved=(1, 0)), 0.5) == (0, 0)
    assert common_offset(*scene([RIGHT] * 3, moved=(8, 0)), 0.5) == (0, 0)
    assert common_offset(*scene([]), 0.5) == (0, 0)


def test_the_largest_step_is_found_among_the_entries():
    entries = [dict(relative_step=0.01), dict(relative_step=0.3), dict(AP=0.5)]
    assert largest_step(entries) == 0.3 and largest_step([dict(AP=0.5)]) == largest_step([]) == 0
