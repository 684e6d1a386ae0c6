"""What is asked of average_precision, and what often goes wrong."""

import numpy as np

from lesson.diagnose import Mistake, Probe


def probe(name, hits, num_objects):
    return Probe(name, "average_precision", (np.array(hits, bool), num_objects))


PROBES = (
    probe("one hit on the only object", [1], 1),
    probe("one hit on one of two objects", [1], 2),
    probe("a hit, a miss and a hit", [1, 0, 1], 2),
    probe("a miss before a hit", [0, 1], 1),
    probe("hits with which precision rises again", [1, 0, 0, 1, 1, 1], 5),
    probe("detections that all miss", [0, 0], 3),
    probe("no detections", [], 3),
    probe("no objects", [0, 0], 0),
)

AREA = "width * precision"
ENVELOPE = "    precision = np.maximum.accumulate(precision[::-1])[::-1]\n"
POINTS = "np.mean([precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, {})])"

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
        "The result is the mean of the precision at eleven recalls; the whole area is asked for.",
        ((f"({AREA}).sum()", POINTS.format(11)),),
    ),
    Mistake(
        "The result is the mean of the precision at 101 recalls, as COCO has it; the whole area is "
        "asked for.",
        ((f"({AREA}).sum()", POINTS.format(101)),),
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
