"""What is asked of has_overlap and keep_objects, and what often goes wrong."""

import numpy as np

from lesson.diagnose import Mistake, Probe

PART = np.array([20, 10, 60, 40], np.float32)
NO_BOXES = np.zeros((0, 4), np.float32)


def array(*boxes):
    return np.array(boxes, np.float32)


def overlap_probe(name, boxes, min_iou):
    return Probe(name, "has_overlap", (PART, boxes, min_iou))


def keep_probe(name, boxes):
    return Probe(name, "keep_objects", (PART, boxes, np.arange(len(boxes)) + 5))


PROBES = (
    overlap_probe("an object with an IoU of a half", array((20, 10, 60, 25)), 0.4),
    overlap_probe("an object that overlaps too little", array((20, 10, 60, 25)), 0.6),
    overlap_probe("an IoU of just min_iou", array((20, 10, 60, 25)), 0.5),
    overlap_probe("a part that is most of an object", array((0, 0, 80, 60)), 0.4),
    overlap_probe(
        "one object that overlaps and one that does not",
        array((20, 10, 60, 25), (0, 0, 8, 8)),
        0.4,
    ),
    overlap_probe("an object to the left and above", array((0, 0, 4, 4)), 0.05),
    overlap_probe("no objects", NO_BOXES, 0.5),
    keep_probe("an object within the part", array((30, 15, 40, 30))),
    keep_probe("an object that reaches beyond it", array((10, 15, 50, 50))),
    keep_probe("an object whose centre is outside", array((10, 15, 25, 30))),
    keep_probe("an object beside it", array((100, 15, 110, 30))),
    keep_probe("an object whose centre is right of it", array((50, 20, 90, 30))),
    keep_probe("an object whose centre is below it", array((30, 30, 40, 70))),
    keep_probe(
        "three objects, of which two stay",
        array((30, 15, 40, 30), (0, 0, 10, 10), (40, 5, 70, 30)),
    ),
    keep_probe("no objects", NO_BOXES),
)

MOVED = "boxes - part[[0, 1, 0, 1]]"
KEPT = "((centres > part[:2]) & (centres < part[2:])).all(axis=1)"

MISTAKES = (
    Mistake(
        "An IoU of just min_iou is enough: >=, not >.",
        ((">= min_iou", "> min_iou"),),
    ),
    Mistake(
        "Every object must overlap the part enough; one is enough, or crowded images would hardly "
        "ever be cropped.",
        (("(shared / union).max()", "(shared / union).min()"),),
    ),
    Mistake(
        "The shared area is divided by the object's, not by what object and part cover together.",
        (("shared / union", "shared / area"),),
    ),
    Mistake(
        "The shared area is divided by the part's, not by what object and part cover together.",
        (
            (
                "union = area + (part[2:] - part[:2]).prod() - shared",
                "union = (part[2:] - part[:2]).prod()",
            ),
        ),
    ),
    Mistake(
        "The union counts the shared area twice: subtract it once from the sum of both areas.",
        ((".prod() - shared", ".prod()"),),
    ),
    Mistake(
        "An object that is apart has a negative shared width and height, whose product is "
        "positive: they must become 0.",
        ((".clip(0)", ""),),
    ),
    Mistake(
        "An image without objects fails: it has no largest IoU, and any part will do.",
        (("    if len(boxes) == 0:\n        return True\n", ""),),
    ),
    Mistake(
        "In an image without objects, any part will do: True.",
        (("        return True", "        return False"),),
    ),
    Mistake(
        "The boxes are not moved: they must be measured from the part's left top corner.",
        ((MOVED, "boxes"),),
    ),
    Mistake(
        "Only left and top are moved; right and bottom move by the same amount.",
        ((MOVED, "boxes - part * [1, 1, 0, 0]"),),
    ),
    Mistake(
        "x and y are exchanged in the move: left and right move by the part's left side.",
        ((MOVED, "boxes - part[[1, 0, 1, 0]]"),),
    ),
    Mistake(
        "The boxes reach beyond the part; they must end at its border.",
        ((".clip(part[[0, 1, 0, 1]], part[[2, 3, 2, 3]])", ""),),
    ),
    Mistake(
        "Boxes that have been moved end at the part's width and height, not at its right and "
        "bottom in the old image.",
        (
            (
                "    boxes = boxes[kept].clip(part[[0, 1, 0, 1]], part[[2, 3, 2, 3]])\n",
                "    boxes = boxes[kept]\n",
            ),
            (MOVED, "(boxes - part[[0, 1, 0, 1]]).clip(0, part[[2, 3, 2, 3]])"),
        ),
    ),
    Mistake(
        "Objects stay that only touch the part; their centre must be within it.",
        ((KEPT, "((boxes[:, 2:] > part[:2]) & (boxes[:, :2] < part[2:])).all(axis=1)"),),
    ),
    Mistake(
        "Objects are lost that reach beyond the part; it is enough that their centre is within it.",
        ((KEPT, "((boxes[:, :2] >= part[:2]) & (boxes[:, 2:] <= part[2:])).all(axis=1)"),),
    ),
    Mistake(
        "The centre must be within the part across and down: all, not any.",
        ((KEPT, "((centres > part[:2]) & (centres < part[2:])).any(axis=1)"),),
    ),
    Mistake(
        "What is within the part is the left top corner; it must be the centre.",
        (("(boxes[:, :2] + boxes[:, 2:]) / 2", "boxes[:, :2]"),),
    ),
    Mistake(
        "All objects stay; those whose centre is outside must go.",
        ((KEPT, "np.ones(len(boxes), bool)"),),
    ),
    Mistake(
        "The labels of lost objects are still there: boxes and labels need the same mask.",
        (("labels[kept]", "labels"),),
    ),
)
