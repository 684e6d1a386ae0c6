"""What probably limits a detector, in sentences, and the flag that would help."""

from pathlib import Path

import numpy as np

from data.summary import REACHED, best_overlap, box_sides, resized_boxes
from data.text import some
from utils.build import SSD_SIDES, build_levels
from utils.evaluation.errors import BOX, CLASS, HIT, group_ap50, size_groups
from utils.evaluation.evaluate import with_errors
from utils.fit_priors import WITHOUT_PRIORS
from utils.log import read_log

HIGH_STEP = 0.06  # of the weights' length
SMALL = 16  # pixels of an object's side as the network sees it
WORSE = 0.8  # times the AP50 of large objects, below which that of small ones is worse
FITTING = 0.8  # the share of objects that priors should reach
GOOD = 0.9  # an AP50 that needs no advice
LEARNED = 0.8  # the AP50 on training images from which on they count as learned
OVERFITTED = 0.15  # what AP50 is higher by on training images
COSTLY = 0.05  # of AP50, that errors of one kind cost
FEW = 20  # of so few detections, a median says nothing
FEW_IMAGES = 3  # whose names are exchanged may be chance
DEVIATIONS = 3  # standard ones, that a correlation must be over 0


def with_advice(evaluation, dataset, recipe, log_path, train=None):
    """The same Evaluation with its errors and the advice that follows; see advice()."""
    evaluation = with_errors(evaluation, dataset)
    entries = read_log(log_path)
    return evaluation._replace(advice=advice(dataset, evaluation, recipe, entries, train))


def advice(dataset, evaluation, recipe, entries, train=None):
    """Sentences about an Evaluation with_errors of a dataset: of the first cause that is found.

    entries: of the training's log. train: a dataset of training images and its Evaluation. Wrong
    annotations come first, for nothing else can be told from numbers that they spoil; then what
    would hide what follows.
    """
    parts = [("evaluated", dataset, evaluation)]
    if train:
        parts = [("validation", dataset, evaluation), ("training", *train)]
    found = [line for part in parts for line in exchanged_lines(*part)]
    found = found or [line for part in parts for line in offset_lines(*part)]
    if evaluation.breakdown["AP50"] < GOOD:
        found = found or list(step_lines(recipe, entries))
        found = found or list(size_lines(dataset, evaluation, recipe))
        found = found or list(prior_lines(dataset, evaluation, recipe))
        found = found or list(length_lines(evaluation, recipe, entries))
        found = found or list(cost_lines(evaluation))
    return found


def exchanged_lines(name, dataset, evaluation):
    """Classes whose names were exchanged in some images."""
    explained, threshold = evaluation.explained, evaluation.operation.threshold
    for label, other, images in exchanged_classes(explained, threshold):
        files = some([Path(dataset.records.path(image)).name for image in images])
        yield (
            f"{dataset.classes[label]} and {dataset.classes[other]} seem exchanged in the "
            f"annotations of {len(images)} {name} images, where all of both are detected the other "
            f"way round: {files}"
        )


def offset_lines(name, dataset, evaluation):
    """Boxes that all lie on one side of the annotated ones."""
    threshold = evaluation.operation.threshold
    right, down = common_offset(
        dataset.records, evaluation.detections, evaluation.explained, threshold
    )
    sides = [(right, "right", "left"), (down, "below", "above")]
    found = [
        f"{abs(far):.0f} px {after if far > 0 else before}" for far, after, before in sides if far
    ]
    if found:
        yield (
            f"detections lie {' and '.join(found)} of the annotated boxes of the {name} images, "
            "half of them further: are the boxes in the right place there, and in all others? "
            "python -m tools.check --sheet shows them"
        )


def step_lines(recipe, entries):
    """A learning rate that is too high."""
    step = largest_step(entries)
    if step > HIGH_STEP:
        yield (
            f"the learning rate is too high: a single step changed the weights by {step:.0%} of "
            f"their length, where 3% is much: --lr {recipe.lr / 10:g}"
        )


def size_lines(dataset, evaluation, recipe):
    """Small objects that are found less well than large ones."""
    groups = size_groups(dataset.records)
    if not groups:
        return
    small, _, large = groups.values()
    side = box_sides(resized_boxes(dataset))[small].max()
    low, high = (
        group_ap50(dataset.classes, evaluation.explained, members) for members in (small, large)
    )
    if side >= SMALL or not low < WORSE * high:
        return
    flags = f"--resize {2 * recipe.resize} --max-size {2 * recipe.max_size}"
    if recipe.model in SSD_SIDES:
        flags = "--model ssd512, or RetinaNet, which takes larger images"
    elif recipe.finest_stride > 4:
        flags += ", or --finest-stride 4"
    yield (
        f"objects are small: a third of them has sides up to {side:.0f} px as the network sees "
        f"them, and their AP50 is {low:.2f}, where that of the largest third is {high:.2f}: {flags}"
    )


def prior_lines(dataset, evaluation, recipe):
    """Objects of a class or of a size that the priors do not fit and that are found less well."""
    records, explained = dataset.records, evaluation.explained
    real = ~records.ignore
    reached = best_overlap(resized_boxes(dataset), build_levels(recipe)) >= REACHED
    groups = {name: real & (records.labels == label) for label, name in enumerate(dataset.classes)}
    sizes = size_groups(records)
    groups |= {f"objects {name}": members for name, members in sizes.items()}
    worst = min(groups, key=lambda name: reached[groups[name]].mean() if groups[name].any() else 1)
    members, others = groups[worst], real & ~groups[worst]
    if not members.any() or not others.any() or reached[members].mean() >= FITTING:
        return
    low, high = (group_ap50(dataset.classes, explained, group) for group in (members, others))
    if low < WORSE * high:
        learned = recipe.fit_priors or recipe.weights not in WITHOUT_PRIORS
        flags = "--finest-stride 4 or a larger --resize" if learned else "--fit-priors"
        yield (
            f"priors reach {reached[members].mean():.0%} of the {members.sum()} {worst} (an IoU of "
            f"{REACHED}), and their AP50 is {low:.2f}, where that of others is {high:.2f}: {flags}"
        )


def length_lines(evaluation, recipe, entries):
    """A training that was too short, or so long that it learned its images by heart."""
    known = [entry for entry in entries if "train_AP50" in entry]
    if not known:
        return
    learned, here = known[-1]["train_AP50"], evaluation.breakdown["AP50"]
    passes = known[-1]["passes"]
    if learned - here > OVERFITTED:
        yield (
            f"the training images are detected better (AP50 {learned:.2f}) than these "
            f"({here:.2f}): more images would help most; else fewer --iters"
        )
    elif learned < LEARNED:
        yield (
            f"not even the training images are learned (AP50 {learned:.2f} after {passes:.1f} "
            f"passes over them): a longer training, --iters {3 * recipe.iterations}"
        )


WHAT_HELPS = {
    "class": "the second row of mistakes.jpg shows whether the annotations are right; where they "
    "are, more images of these classes or a longer training",
    "box": "the third row of mistakes.jpg shows whether the annotated boxes are tight; where they "
    "are, --box-weight 4 or a larger --resize",
    "duplicate": "a smaller nms_iou in a recipe of your own",
    "background": "the first row of mistakes.jpg shows whether objects were forgotten; where not, "
    "images without objects",
    "missed": "the last row of mistakes.jpg shows them; --fit-priors, --finest-stride 4 or a "
    "larger --resize",
}


def cost_lines(evaluation):
    """The kind of errors that costs most."""
    costs = evaluation.breakdown["costs"]
    kind = max(WHAT_HELPS, key=costs.get)
    if costs[kind] > COSTLY:
        cost = f"errors of the kind {kind!r} cost most, {costs[kind]:.2f} of AP50"
        yield f"{cost}: {WHAT_HELPS[kind]}"


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
