"""What is asked of batched_nms, and what often goes wrong."""

import torch

from lesson.diagnose import Mistake, Probe


def probe(name, lefts, scores, labels):
    """Boxes of 10 x 10 pixels that begin at these places."""
    left = torch.tensor(lefts)
    boxes = torch.stack([left, 0 * left, left + 10, 0 * left + 10], dim=1)
    return Probe(name, "batched_nms", (boxes, torch.tensor(scores), torch.tensor(labels), 0.5))


HALF = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])

PROBES = (
    probe("one box", [0.0], [0.5], [0]),
    probe("two boxes that are apart", [0.0, 50.0], [0.5, 0.9], [0, 0]),
    probe("two boxes on one object", [0.0, 1.0], [0.5, 0.9], [0, 0]),
    probe("two boxes of different classes", [0.0, 1.0], [0.9, 0.5], [0, 1]),
    probe("two boxes that overlap by less than the threshold", [0.0, 5.0], [0.9, 0.5], [0, 0]),
    Probe(
        "an IoU of just the threshold",
        "batched_nms",
        (HALF, torch.tensor([0.9, 0.5]), torch.tensor([0, 0]), 0.5),
    ),
    probe(
        "a chain, in which only neighbours overlap enough",
        [0.0, 2.0, 4.0, 60.0],
        [0.9, 0.8, 0.7, 0.95],
        [1, 1, 1, 1],
    ),
    probe(
        "two classes",
        [40.0, 0.0, 1.0, 41.0, 80.0, 20.0],
        [0.3, 0.6, 0.9, 0.8, 0.5, 0.7],
        [1, 0, 0, 1, 0, 1],
    ),
    probe("a suppressed box in between", [0.0, 3.0, 6.0], [0.9, 0.8, 0.7], [0, 0, 0]),
    Probe(
        "no boxes",
        "batched_nms",
        (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), 0.5),
    ),
)

MISTAKES = (
    Mistake(
        "The boxes are taken in the order of the input; the best score must go first.",
        (("scores.argsort(descending=True)", "torch.arange(len(scores))"),),
    ),
    Mistake(
        "The worst score goes first: argsort begins with the smallest, unless descending=True.",
        (("descending=True", "descending=False"),),
    ),
    Mistake(
        "A box is suppressed by one of another class: NMS is done per class.",
        (("(labels[rest] == labels[best]) & ", ""),),
    ),
    Mistake(
        "Boxes of other classes are suppressed, and those of the same class are not.",
        (("labels[rest] == labels[best]", "labels[rest] != labels[best]"),),
    ),
    Mistake(
        "Boxes that overlap the best little are suppressed; it must be those that overlap it much.",
        (("overlap > iou_threshold", "overlap <= iou_threshold"),),
    ),
    Mistake(
        "An overlap of just the threshold is not too much: >, not >=.",
        (("overlap > iou_threshold", "overlap >= iou_threshold"),),
    ),
    Mistake(
        "A box that is suppressed itself suppresses others; only those that are kept may.",
        (
            ("kept = []\n", "kept, gone = [], set()\n"),
            ("kept.append(best)", "kept += [best] if int(best) not in gone else []"),
            ("order = rest[~repeats]", "gone |= set(rest[repeats].tolist())\n        order = rest"),
        ),
    ),
    Mistake(
        "Each box is compared with the next one only; it must be with all that are left.",
        (("order = rest[~repeats]", "order = rest[~(repeats & (torch.arange(len(rest)) < 1))]"),),
    ),
    Mistake(
        "The indices are places in the sorted order; they must be those of the input.",
        (("kept.append(best)", "kept.append((scores > scores[best]).sum())"),),
    ),
    Mistake(
        "The indices are in the order of the input; the best box must come first.",
        (("torch.stack(kept) if", "torch.stack(kept).sort().values if"),),
    ),
    Mistake(
        "The indices are ordered class by class; the best box of all must come first.",
        (("torch.stack(kept) if", "torch.stack(sorted(kept, key=lambda i: int(labels[i]))) if"),),
    ),
    Mistake(
        "The last box of the order is lost: the loop must go on while a single one is left.",
        (("while len(order):", "while len(order) > 1:"),),
    ),
    Mistake(
        "Where there are no boxes, it fails: the result must be an empty tensor.",
        ((" if kept else order", ""),),
    ),
)
