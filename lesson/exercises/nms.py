"""How do many boxes on one object become one?

python -m lesson exercises nms
"""


def batched_nms(boxes, scores, labels, iou_threshold):
    """Non-maximum suppression within each class -> indices of the boxes kept, best first.

    boxes [D, 4], scores [D], labels [D]. The best box stays; boxes of its class that overlap it by
    an IoU of more than the threshold go; then the best of the rest stays, and so on.

    Hint: begin with scores.argsort(descending=True), and use layers.boxes.iou.
    """
    raise NotImplementedError
