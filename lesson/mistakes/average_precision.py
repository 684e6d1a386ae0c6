"""What is asked of average_precision, and what often goes wrong."""

import numpy as np

from lesson.diagnose import Mistake, Probe


def probe(name, hits, num_objects, eleven_points=False):
    arguments = np.array(hits, bool), num_objects, eleven_points
    return Probe(name, "average_precision", arguments)


PROBES = (
    probe("one hit on the only object", [1], 1),
    probe("one hit on one of two objects", [1], 2),
    probe("a hit, a miss and a hit", [1, 0, 1], 2),
    probe("a miss before a hit", [0, 1], 1),
    probe("hits with which precision rises again", [1, 0, 0, 1, 1, 1], 5),
    probe("detections that all miss", [0, 0], 3),
    probe("no detections", [], 3),
    probe("eleven points and one hit on one of two objects", [1], 2, True),
    probe("eleven points and hits with which precision rises again", [1, 0, 0, 1, 1, 1], 10, True),
    probe("eleven points and no detections", [], 3, True),
    probe("no objects", [0, 0], 0),
)

AREA = "width * precision"
ENVELOPE = "    precision = np.maximum.accumulate(precision[::-1])[::-1]\n"
POINTS = "[precision[recall >= point].max(initial=0) for point in points]"

MISTAKES = (
    Mistake(
        "The best precision at this or a larger recall counts, not the precision itself.",
        ((ENVELOPE, ""),),
    ),
    Mistake(
        "The running maximum goes the wrong way: it must begin at the largest recall.",
        (("np.maximum.accumulate(precision[::-1])[::-1]", "np.maximum.accumulate(precision)"),),
    ),
    Mistake(
        "The area is made of trapezoids below the precision itself; it must be made of rectangles "
        "below the best precision at this or a larger recall.",
        (
            (ENVELOPE, ""),
            (AREA, "width * (precision + np.append(precision[:1], precision)[:-1]) / 2"),
        ),
    ),
    Mistake(
        "Recall is the share of all objects, num_objects, not of those that are found in the end.",
        (("/ num_objects", "/ max(true_positives.max(initial=0), 1)"),),
    ),
    Mistake(
        "Recall is the share of all objects: divide by num_objects, not by the detections.",
        (("/ num_objects", "/ max(len(hits), 1)"),),
    ),
    Mistake(
        "Precision is the share of the first k detections: divide by k, not by all detections.",
        (("/ np.arange(1, len(hits) + 1)", "/ max(len(hits), 1)"),),
    ),
    Mistake(
        "The result is the mean of the precision over the detections; it must be that over recall.",
        ((f"({AREA}).sum()", "precision.sum() / max(len(hits), 1)"),),
    ),
    Mistake(
        "eleven_points makes no difference; with it, the mean of the precision at eleven recalls "
        "is asked for.",
        (("if eleven_points:", "if False:"),),
    ),
    Mistake(
        "The recalls are 0, 0.1, ... 1: eleven, not ten.",
        (("np.linspace(0, 1, 11)", "np.arange(10) / 10"),),
    ),
    Mistake(
        "A recall that is never reached has a precision of 0; it must not be left out of the mean.",
        (
            (
                POINTS,
                "[0.0][len(hits) :] + [precision[recall >= point].max() for point in points if "
                "(recall >= point).any()]",
            ),
        ),
    ),
    Mistake(
        "Where there is no object, there is no precision to speak of: nan, not 0.",
        (("return math.nan", "return 0.0"),),
    ),
    Mistake(
        "Where there is no object, recall is a division by zero: return nan first.",
        (("    if num_objects == 0:\n        return math.nan\n", "    1 / num_objects\n"),),
    ),
)
