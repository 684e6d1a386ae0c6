"""Advice: what probably limits a detector, and which flag would help."""

import numpy as np

from data.summary import REACHED, best_overlap, box_sides, resized_boxes
from utils.build import SSD_SIDES, build_levels
from utils.evaluation.errors import HIT, WRONG_BOX, group_ap50, size_groups
from utils.evaluation.evaluate import with_errors
from utils.log import read_log

GOOD_AP50 = 0.9  # needs no advice
HIGH_STEP = 0.06  # the length of a step, as a share of the weights' own
SMALL_SIDE = 16  # pixels of an object as the network sees it
MUCH_WORSE = 0.8  # some objects' AP50 as a share of that of others
MIN_REACHED = 0.8  # the share of objects that priors should reach
LEARNED_AP50 = 0.8  # on training images
OVERFITTED = 0.15  # by which AP50 is higher on training images
COSTLY = 0.05  # the AP50 that errors of one kind cost
MIN_DETECTIONS = 20  # fewer make no reliable median


def with_advice(evaluation, dataset, recipe, log_path, train=None):
    """The same Evaluation with its errors, and with the advice() that follows from them."""
    evaluation = with_errors(evaluation, dataset)
    entries = read_log(log_path)
    return evaluation._replace(advice=advice(dataset, evaluation, recipe, entries, train))


def advice(dataset, evaluation, recipe, entries, train=None):
    """Sentences about the first cause that is found, or none -> list.

    evaluation: of the dataset, with its errors. entries: of the run's log. train: a dataset of
    training images, and its Evaluation with errors.
    """
    parts = {"evaluated": (dataset, evaluation)}
    if train:
        parts = {"validation": (dataset, evaluation), "training": train}
    # Where the annotated boxes are wrong, nothing can be learned from the other numbers.
    sentences = [advice_on_offset(name, *part) for name, part in parts.items()]
    sentences = [sentence for sentence in sentences if sentence]
    if sentences or not evaluation.breakdown["AP50"] < GOOD_AP50:
        return sentences
    # Each cause would hide those below it: a high learning rate spoils the results for objects of
    # every size, and small objects or poor priors make a long run look too short.
    sentence = (
        advice_on_step(recipe, entries)
        or advice_on_sizes(dataset, evaluation, recipe)
        or advice_on_priors(dataset, evaluation, recipe)
        or advice_on_length(evaluation, recipe, entries)
        or advice_on_errors(evaluation, recipe)
    )
    return [sentence] if sentence else []


def advice_on_offset(name, dataset, evaluation):
    """A sentence if the boxes of these images all lie on one side of the annotated ones."""
    threshold = evaluation.operating_point.threshold
    right, down = common_offset(
        dataset.records, evaluation.detections, evaluation.errors, threshold
    )
    directions = []
    if right:
        directions.append(f"{abs(right):.0f} px further {'right' if right > 0 else 'left'}")
    if down:
        directions.append(f"{abs(down):.0f} px {'lower' if down > 0 else 'higher'}")
    if not directions:
        return None
    return (
        f"detections lie {' and '.join(directions)} than the annotated boxes of the {name} images "
        "(median): are these boxes in the right place? python -m tools.check --sheet sheet.jpg "
        "shows them"
    )


def common_offset(records, detections, errors, threshold):
    """How far boxes lie beside the annotated ones, all in one direction: (right, down) in pixels.

    The medians over detections of the right class; 0 where fewer than three of four lie on that
    side, or where the median is less than a twentieth of the objects' side.
    """
    is_shown = errors.scores >= threshold
    numbers = np.flatnonzero(np.isin(errors.kinds, (HIT, WRONG_BOX)) & is_shown)
    if len(numbers) < MIN_DETECTIONS:
        return 0.0, 0.0
    boxes = np.stack([detections[errors.images[i]]["boxes"][errors.rows[i]] for i in numbers])
    truth = records.boxes[errors.objects[numbers]]
    offsets = (boxes[:, :2] + boxes[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2
    sides = truth[:, 2:] - truth[:, :2]
    medians = np.median(offsets, axis=0)
    is_common = (np.sign(offsets) == np.sign(medians)).mean(axis=0) > 0.75
    is_large = np.abs(np.median(offsets / sides, axis=0)) > 0.05
    return tuple(np.where(is_common & is_large, medians, 0.0).tolist())


def advice_on_step(recipe, entries):
    """A sentence if the learning rate is too high."""
    step = largest_step(entries)
    if step <= HIGH_STEP:
        return None
    return (
        f"the learning rate is too high: a single step changed the weights by {step:.0%} of their "
        f"length, where 6% is too much; try --lr {recipe.lr / 10:g}"
    )


def largest_step(entries):
    """The largest relative step in the entries of a log, 0 if there is none."""
    # A step that is not finite is None in the log.
    return max((entry.get("relative_step") or 0.0 for entry in entries), default=0.0)


def advice_on_sizes(dataset, evaluation, recipe):
    """A sentence if small objects are detected much worse than large ones."""
    groups = size_groups(dataset.records)
    if not groups:
        return None
    small, _, large = groups.values()
    side = box_sides(resized_boxes(dataset))[small].max()
    small_ap50 = group_ap50(dataset.classes, evaluation.errors, small)
    large_ap50 = group_ap50(dataset.classes, evaluation.errors, large)
    if side >= SMALL_SIDE or not small_ap50 < MUCH_WORSE * large_ap50:
        return None
    return (
        f"objects are small: a third of them have sides of up to {side:.0f} px as the network sees "
        f"them, and their AP50 is {small_ap50:.2f}, where that of the largest third is "
        f"{large_ap50:.2f}; try {larger_view(recipe)}"
    )


def larger_view(recipe):
    """The flags with which the network sees objects larger, or on a finer level."""
    if recipe.model in SSD_SIDES:
        larger = "--model ssd512, or " if recipe.model == "ssd300" else ""
        return f"{larger}--model retinanet, which takes images of any size"
    finer = ", or --finest-stride 4" if recipe.finest_stride > 4 else ""
    return f"--resize {2 * recipe.resize} --max-size {2 * recipe.max_size}{finer}"


def advice_on_priors(dataset, evaluation, recipe):
    """A sentence if priors do not fit a class or a size, and if these are detected much worse."""
    records = dataset.records
    real = ~records.ignore
    groups = {name: real & (records.labels == label) for label, name in enumerate(dataset.classes)}
    groups |= {f"objects {name}": members for name, members in size_groups(records).items()}
    groups = {name: members for name, members in groups.items() if members.any()}
    if not groups:
        return None
    is_reached = best_overlap(resized_boxes(dataset), build_levels(recipe)) >= REACHED
    worst = min(groups, key=lambda name: is_reached[groups[name]].mean())
    members = groups[worst]
    others = real & ~members
    share = is_reached[members].mean()
    if share >= MIN_REACHED or not others.any():
        return None
    ap50 = group_ap50(dataset.classes, evaluation.errors, members)
    others_ap50 = group_ap50(dataset.classes, evaluation.errors, others)
    if not ap50 < MUCH_WORSE * others_ap50:
        return None
    flags = larger_view(recipe) if recipe.fit_priors else "--fit-priors"
    return (
        f"priors reach {share:.0%} of the {members.sum()} {worst} (an IoU of {REACHED}), and "
        f"their AP50 is {ap50:.2f}, where that of others is {others_ap50:.2f}; try {flags}"
    )


def advice_on_length(evaluation, recipe, entries):
    """A sentence if the run was too short, or if it overfitted to its images."""
    known = [entry for entry in entries if "train_AP50" in entry]
    if not known:
        return None
    train_ap50 = known[-1]["train_AP50"]
    ap50 = evaluation.breakdown["AP50"]
    if train_ap50 - ap50 > OVERFITTED:
        return (
            f"the training images are detected much better (AP50 {train_ap50:.2f}) than these "
            f"({ap50:.2f}): more images would help most, or else fewer --iters"
        )
    if train_ap50 < LEARNED_AP50:
        return (
            f"not even the training images are learned (AP50 {train_ap50:.2f} after "
            f"{known[-1]['passes']:.1f} passes over them): train longer, with --iters "
            f"{3 * recipe.iterations}; if that changes little, look in mistakes.jpg for wrong "
            "annotations"
        )
    return None


WHAT_HELPS = {
    "class": "the wrong classes in mistakes.jpg show whether the annotations are right; if they "
    "are, more images of these classes or a longer run would help",
    "box": "the poor boxes in mistakes.jpg show whether the annotated ones are tight; if they are, "
    "try --box-weight {box_weight:g}, {larger}",
    "duplicate": "try a smaller nms_iou in a recipe of your own",
    "background": "the false alarms in mistakes.jpg show whether the annotations are complete; if "
    "they are, images without objects would help",
    "missed": "mistakes.jpg shows them; try {larger}",
}


def advice_on_errors(evaluation, recipe):
    """A sentence about the kind of errors that costs most, unless it costs little."""
    costs = evaluation.breakdown["costs"]
    kind = max(WHAT_HELPS, key=costs.get)
    if costs[kind] <= COSTLY:
        return None
    what_helps = WHAT_HELPS[kind].format(
        larger=larger_view(recipe), box_weight=2 * recipe.box_weight
    )
    return f"errors of the kind {kind!r} cost most, {costs[kind]:.2f} of AP50; {what_helps}"
