"""How good are the detections of a class, in one number?

cumsum counts the hits after each detection; divided by the objects it is the recall, and divided by
the detections so far it is the precision. Precision goes up and down along the list. Somebody who
wants a certain recall may go on to a larger one if precision is better there, so the best precision
at this recall or a larger one counts: a running maximum from the end, which makes the curve a
staircase that only falls. The area below stairs is a sum of rectangles, exactly: how much recall
grows at each detection, times the height there.
"""

import math

import numpy as np


def average_precision(hits, num_objects):
    if num_objects == 0:
        return math.nan
    true_positives = np.cumsum(hits)
    recall = true_positives / num_objects
    precision = true_positives / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    width = np.diff(recall, prepend=0)
    return float((width * precision).sum())
