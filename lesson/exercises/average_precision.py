"""How good are the detections of a class, in one number?

python -m lesson exercises average_precision
"""


def average_precision(hits, num_objects, eleven_points=False):
    """The precision of detections, averaged over recall; nan where there is no object.

    hits [D] is a NumPy array of bool: whether each detection, the surest first, found an object.
    After the first k detections,

        precision = hits so far / k        recall = hits so far / num_objects

    At every recall, take the best precision that is had at this recall or a larger one, and then
    the area below it; with eleven_points its mean at the recalls 0, 0.1, ... 1 (0 where no such
    recall is reached).

    Hint: np.cumsum, and np.maximum.accumulate on the reversed precision.
    """
    raise NotImplementedError
