"""What an evaluation and a training's log show of why a detector is not better, as numbers."""

import numpy as np

from utils.evaluation.errors import BOX, CLASS, HIT

FEW = 20  # of so few detections, a median says nothing
FEW_IMAGES = 3  # whose names are exchanged may be chance
DEVIATIONS = 3  # standard ones, that a correlation must be over 0


def exchanged_classes(explained, threshold):
    """Pairs of classes whose names some images seem to have the wrong way round.

    Returns (label, other label, image numbers), the most images first. A detector that cannot tell
    two classes is wrong about some objects of an image. Where it is wrong about all objects of
    both classes in one image, and about none in another, the annotation is rather to blame.
    """
    numbers = surest_detections(explained, threshold)
    truth, guess = explained.object_labels[explained.objects[numbers]], explained.labels[numbers]
    images = explained.images[numbers]
    pairs = np.unique(np.sort(np.stack([truth, guess]), axis=0), axis=1).T.tolist()
    found = []
    for label, other in pairs:
        chosen = np.isin(truth, (label, other)) & np.isin(guess, (label, other))
        known, place = np.unique(images[chosen], return_inverse=True)
        objects = np.bincount(place)
        first = np.bincount(place, weights=truth[chosen] == label)
        wrong = np.bincount(place, weights=(truth != guess)[chosen])
        both = (first > 0) & (first < objects)
        exchanged = (wrong == objects) & (objects > 1)
        if (exchanged & both).sum() >= FEW_IMAGES and go_together(wrong[both], objects[both]):
            found.append((label, other, known[exchanged].tolist()))
    return sorted(found, key=lambda one: -len(one[2]))


def go_together(wrong, objects):
    """Whether the errors on the objects of an image occur together more than by chance.

    wrong [M] of objects [M] in each image. It compares the correlation of two objects of one image
    with the spread that it has where errors are independent.
    """
    share = wrong.sum() / objects.sum()
    if share == 1:
        return True
    # Over all pairs of different objects: the mean of the product of their deviations.
    own = wrong * (1 - share) ** 2 + (objects - wrong) * share**2
    products = (wrong - objects * share) ** 2 - own
    count = (objects * (objects - 1)).sum()
    correlation = products.sum() / (count * share * (1 - share))
    return bool(correlation * np.sqrt(count / 2) > DEVIATIONS)


def surest_detections(explained, threshold):
    """Of every object that was found, if under another class, its most certain detection over the
    threshold: numbers of detections."""
    shown = np.isin(explained.kinds, (HIT, CLASS)) & (explained.scores >= threshold)
    numbers = np.flatnonzero(shown)
    numbers = numbers[np.argsort(-explained.scores[numbers], kind="stable")]
    _, first = np.unique(explained.objects[numbers], return_index=True)
    return numbers[first]


def common_offset(records, detections, explained, threshold):
    """How far boxes lie beside the annotated ones, all in one direction: (right, down) in pixels.

    The medians over detections of the right class; 0 where fewer than three of four lie on that
    side, or the median is less than a twentieth of the objects' side.
    """
    chosen = np.isin(explained.kinds, (HIT, BOX)) & (explained.scores >= threshold)
    numbers = np.flatnonzero(chosen)
    if len(numbers) < FEW:
        return 0.0, 0.0
    boxes = np.stack([detections[explained.images[i]]["boxes"][explained.rows[i]] for i in numbers])
    truth = records.boxes[explained.objects[numbers]]
    moves = (boxes[:, :2] + boxes[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2
    sides = truth[:, 2:] - truth[:, :2]
    medians = np.median(moves, axis=0)
    alike = (np.sign(moves) == np.sign(medians)).mean(axis=0) > 0.75
    large = np.abs(np.median(moves / sides, axis=0)) > 0.05
    return tuple(np.where(alike & large, medians, 0.0).tolist())


def largest_step(entries):
    """The largest relative step that a log's entries hold, 0 where there is none."""
    return max((entry.get("relative_step", 0.0) for entry in entries), default=0.0)
