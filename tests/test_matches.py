import math

import numpy as np
import pytest

from utils.evaluation.matches import average_precision


def ap(*hits, objects, **options):
    return average_precision(np.array(hits, bool), objects, **options)


def test_finding_every_object_first_is_one():
    assert ap(1, 1, 1, objects=3) == ap(1, 1, 1, 0, 0, objects=3) == 1


def test_half_of_the_objects_at_full_precision_is_a_half():
    assert ap(1, 1, objects=4) == 0.5, "recall counts the objects that were missed"


def test_the_best_precision_at_a_recall_or_a_larger_one_counts():
    # Precision 1, 1/2, 2/3: between the recalls of a half and one it is 2/3, not 1/2.
    message = "at every recall, the best precision at this or a larger recall counts"
    assert ap(1, 0, 1, objects=2) == pytest.approx((1 + 2 / 3) / 2), message
    assert ap(0, 1, 1, objects=2) == pytest.approx(2 / 3), message


def test_a_miss_at_the_end_costs_nothing_and_one_at_the_start_does():
    assert ap(1, 0, objects=1) == 1 and ap(0, 1, objects=1) == 0.5


def test_eleven_points_are_the_mean_at_eleven_recalls():
    # Recalls 0 to 0.5 have a precision of 1, those beyond are never reached.
    assert ap(1, objects=2, eleven_points=True) == pytest.approx(6 / 11)


def test_no_detections_are_worth_nothing_and_no_objects_have_no_number():
    assert ap(objects=2) == ap(objects=2, eleven_points=True) == 0
    assert math.isnan(ap(0, objects=0)) and math.isnan(ap(objects=0))
