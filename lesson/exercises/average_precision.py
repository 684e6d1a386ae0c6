"""How good are the detections of a class, in one number?

python -m lesson exercises average_precision
"""


def average_precision(hits, num_objects):
    """The precision of detections, averaged over recall: a number; nan where there is no object.

    hits [D] is a NumPy array of bool: whether each detection, the surest first, found an object.
    After the first k detections,

        precision = hits so far / k        recall = hits so far / num_objects

    At every recall, take the best precision that is reached at this recall or a larger one, and
    then the area below it.

    Hint: np.cumsum, and np.maximum.accumulate on the reversed precision.
    """
    raise NotImplementedError
