"""How much do two boxes overlap?

python -m lesson exercises iou
"""


def iou(boxes, others):
    """Intersection over union of every pair: [N, 4], [M, 4] -> [N, M], 0 apart to 1 identical.

    Boxes are left, top, right, bottom in pixels, as float tensors:

        IoU = shared area / (area + other area - shared area)

    Hint: boxes[:, None] has the shape [N, 1, 4], and broadcasts against [M, 4].
    """
    raise NotImplementedError
