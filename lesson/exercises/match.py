"""Which object, if any, should each prior predict?

python -m lesson exercises match
"""

BACKGROUND, IGNORED = -1, -2


def match(overlap, positive_iou, negative_iou):
    """The object of every prior of an image: overlap [N, A] -> [A] of whole numbers.

    overlap has the IoU of every object, a row, with every prior, a column; N may be 0. A prior
    looks at the object that it overlaps most. If their IoU is positive_iou or more, it gets this
    object's row; below negative_iou it gets BACKGROUND, and in between IGNORED.

    After that, every object takes one prior for itself, however small their IoU: the largest IoU of
    all takes its prior; then the largest among the remaining objects and priors, and so on.

    Hint: for the second part, a loop of min(N, A) rounds over a copy of overlap, in which the row
    and the column that are taken are crossed out.
    """
    raise NotImplementedError
