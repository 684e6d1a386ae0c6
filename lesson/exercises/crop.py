"""Which crops may SSD's augmentation make, and what becomes of the objects?

python -m lesson exercises crop
"""


def has_overlap(part, boxes, min_iou):
    """Whether some object has an IoU of min_iou or more with the part of the image: a bool.

    part [4] and boxes [N, 4] are NumPy arrays, xyxy in pixels of the image. One such object is
    enough. In an image without objects, any part will do.
    """
    raise NotImplementedError


def keep_objects(part, boxes, labels):
    """The objects whose centre is within the part -> boxes [K, 4], labels [K].

    The boxes are measured from the part's top left corner now, and end at its border.
    """
    raise NotImplementedError
