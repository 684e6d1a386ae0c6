"""What is asked of match, and what often goes wrong."""

import torch

from lesson.diagnose import Mistake, Probe


def probe(name, *rows):
    overlap = torch.tensor(rows) if rows else torch.zeros(0, 3)
    return Probe(name, "match", (overlap, 0.5, 0.375))


PROBES = (
    probe("one object and a prior that it hardly overlaps", (0.9, 0.1)),
    probe("one object and a prior between the thresholds", (0.9, 0.45)),
    probe("an IoU of just positive_iou", (0.9, 0.5)),
    probe("an IoU of just negative_iou", (0.9, 0.375)),
    probe("an object that no prior overlaps enough", (0.2, 0.3, 0.1)),
    probe("two objects that both overlap a prior", (0.6, 0.9, 0.1), (0.7, 0.2, 0.8)),
    probe("two objects that want one prior", (0.3, 0.9, 0.2), (0.4, 0.6, 0.1)),
    probe("two objects, the later of which overlaps more", (0.1, 0.6, 0.2), (0.3, 0.9, 0.0)),
    probe(
        "three objects that want one prior, and two the next one",
        (0.90, 0.50, 0.10, 0.42),
        (0.80, 0.70, 0.05, 0.00),
        (0.85, 0.75, 0.20, 0.15),
    ),
    probe("an object that no prior overlaps", (0.9, 0.2), (0.0, 0.0)),
    probe("an object that has a prior, but not its best", (0.9, 0.7, 0.1), (0.8, 0.6, 0.5)),
    probe("no objects"),
)

POSITIVE = "best_object.where(best_overlap >= positive_iou, matches)"

MISTAKES = (
    Mistake(
        "An image without objects fails: it has no largest IoU, and all its priors are BACKGROUND.",
        (("if num_objects:", "if True:"),),
    ),
    Mistake(
        "Objects that no prior overlaps enough are forgotten: every object takes one prior.",
        (("return keep_one_prior(overlap.clone(), matches)", "return matches"),),
    ),
    Mistake(
        "Two objects want the same prior, and the later one overwrites the other: cross out what "
        "is taken.",
        (
            ("overlap[row] = overlap[:, prior] = -1", "overlap[row] = -1"),
            (
                "row, prior = divmod(int(overlap.argmax()), overlap.shape[1])",
                "row = _\n        prior = overlap[row].argmax()",
            ),
        ),
    ),
    Mistake(
        "Two objects want the same prior, and the one with the smaller IoU gets it: when a row is "
        "taken, the column of its prior must be crossed out, too.",
        (("overlap[row] = overlap[:, prior] = -1", "overlap[row] = -1"),),
    ),
    Mistake(
        "What is taken is crossed out with 0, which is an IoU, too: use -1.",
        (("overlap[row] = overlap[:, prior] = -1", "overlap[row] = overlap[:, prior] = 0"),),
    ),
    Mistake(
        "An object that has a prior by its IoU takes none for itself; every object does.",
        (
            (
                "        matches[prior] = row\n",
                "        if not (matches == row).any():\n            matches[prior] = row\n",
            ),
        ),
    ),
    Mistake(
        "The objects choose in the order of their rows; the largest IoU of all must go first.",
        (
            (
                "row, prior = divmod(int(overlap.argmax()), overlap.shape[1])",
                "row = _\n        prior = overlap[row].argmax()",
            ),
        ),
    ),
    Mistake(
        "The thresholds overrule what the objects took: the second part must come last.",
        (
            (
                "    if num_objects:",
                "    forced = keep_one_prior(overlap.clone(), matches.clone())\n"
                "    if num_objects:",
            ),
            (
                "    return keep_one_prior(overlap.clone(), matches)",
                "        matches = matches.where(best_overlap >= negative_iou, forced)\n"
                "    return matches",
            ),
        ),
    ),
    Mistake(
        "Priors between the thresholds are BACKGROUND; they must be IGNORED.",
        (("= IGNORED\n", "= BACKGROUND\n"),),
    ),
    Mistake(
        "Priors under negative_iou are IGNORED; they must be BACKGROUND.",
        (("torch.full((num_priors,), BACKGROUND)", "torch.full((num_priors,), IGNORED)"),),
    ),
    Mistake(
        "BACKGROUND and IGNORED are exchanged: below negative_iou is BACKGROUND.",
        (
            ("torch.full((num_priors,), BACKGROUND)", "torch.full((num_priors,), IGNORED)"),
            ("= IGNORED\n", "= BACKGROUND\n"),
        ),
    ),
    Mistake(
        "Priors between the thresholds get an object: only those of positive_iou or more do.",
        ((POSITIVE, "best_object.where(best_overlap >= negative_iou, matches)"),),
    ),
    Mistake(
        "An IoU of just positive_iou is enough: >=, not >.",
        ((POSITIVE, "best_object.where(best_overlap > positive_iou, matches)"),),
    ),
    Mistake(
        "An IoU of just negative_iou is IGNORED: only below it is a prior BACKGROUND.",
        (("best_overlap >= negative_iou", "best_overlap > negative_iou"),),
    ),
    Mistake(
        "A prior gets the first object that it overlaps enough; it must be the one that it "
        "overlaps most.",
        (
            (
                POSITIVE,
                "(overlap >= positive_iou).int().argmax(0)"
                ".where(best_overlap >= positive_iou, matches)",
            ),
        ),
    ),
    Mistake(
        "The argument overlap is changed: cross out in a copy, overlap.clone().",
        (("overlap.clone()", "overlap"),),
    ),
)
