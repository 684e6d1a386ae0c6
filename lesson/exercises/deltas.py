"""How is a box described relative to a prior, and read back?

python -m lesson exercises deltas
"""


def encode(boxes, priors):
    """Each box relative to its prior: [..., 4] twice, xyxy in pixels -> deltas [..., 4].

    With centre (x, y), width w and height h of the box, and the same of the prior with index a:

        (x - x_a) / w_a / 0.1    (y - y_a) / h_a / 0.1    ln(w / w_a) / 0.2    ln(h / h_a) / 0.2

    Hint: layers.boxes has xyxy_to_cxcywh and cxcywh_to_xyxy.
    """
    raise NotImplementedError


def decode(deltas, priors):
    """Undo encode: deltas [..., A, 4], priors [A, 4] -> boxes [..., A, 4], xyxy in pixels.

    Hint: exp() of a large number is infinite. Let no side grow to more than 62.5 times the prior's.
    """
    raise NotImplementedError
