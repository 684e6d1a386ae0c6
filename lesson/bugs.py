"""The bugs of the clinic and their explanations: read them after you have looked for them.

A bug is a part of a line that becomes another. It is built into a copy of the project, never into
the project itself.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
# What training and evaluation need.
ROOMS = ("", "layers", "data", "data/formats", "utils", "utils/evaluation", "published", "lesson")


class Bug(NamedTuple):
    """A part of a line of a file, which is in the file once, and what it becomes."""

    file: str
    old: str
    new: str
    answer: str


BUGS = {
    1: Bug(
        "layers/detections.py",
        "best_survivors(boxes, score, label, nms_iou",
        "best_survivors(boxes, score, prior, nms_iou",
        """The losses are the healthy ones to the last digit, so training is right and the
        mistake is behind it. Every object is found, and found again by its neighbours: NMS compares
        boxes of one group only, and the groups are the classes. Here the number of the prior was
        passed for the class, which makes every prior a group of its own. Nothing complains, because
        both are whole numbers, one for each box. A detection that repeats another counts as wrong,
        so AP50 falls although no object is lost.""",
    ),
    2: Bug(
        "layers/detections.py",
        "index % num_classes, score))",
        "index % num_classes - 1, score))",
        """The losses are the healthy ones, and so are the boxes, but every name is that of the
        class before: somebody has subtracted the column of the background, which only SSD has. The
        first class becomes -1, which Python takes for the last one. AP50 is less than half, and all
        of the difference is lost to wrong classes. It would be zero, if the healthy training did
        not confuse classes as well: now and then one mistake undoes the other. In mmdetection's
        issue 2361, AP was zero because the ids of the classes did not begin with the same number in
        the dataset and in the program.""",
    ),
    3: Bug(
        "utils/predict.py",
        "dict(boxes=clip(boxes, original_size))",
        'dict(boxes=clip(result["boxes"], original_size))',
        """The losses are the healthy ones, and the scores too. Every box is too near to the upper
        left corner and smaller than its object, both by a quarter, on all images. The network sees
        images of 120 x 96 pixels, and their boxes were not brought back to the 160 x 128 of the
        file. The line before computes them, and this one uses the others. Without a resize, as in
        many a first test, nothing would show.""",
    ),
    4: Bug(
        "layers/boxes.py",
        "shift * (prior_size * CENTRE_SCALE)",
        "shift * prior_size",
        """The losses are the healthy ones: smooth L1 compares deltas, and never decodes them. The
        boxes have the sizes of objects and are scattered over the image: every shift of a centre is
        ten times as long as it should be, because it was divided by CENTRE_SCALE in encode and not
        multiplied in decode. Neither paper mentions this scale, and people who write SSD from the
        paper ask about it again and again (for one, issue 53 of rykov8's ssd_keras). With GIoU,
        whose loss decodes, the network would learn smaller deltas, and hardly anything would
        show.""",
    ),
    5: Bug(
        "utils/predict.py",
        "forward(model, images, recipe.precision)",
        "forward(model, images / 255, recipe.precision)",
        """The losses are the healthy ones. In the evaluation, the same few boxes with the same low
        scores appear on all images, so whatever decides about them is not in the image. The network
        was trained with pixels from 0 to 255, and is now given some from 0 to 1: to it, all images
        are black. It is the most common difference between training and the program that uses its
        result. Here the network normalises pixels itself, so that it can happen in one place
        only.""",
    ),
    6: Bug(
        "layers/detections.py",
        "level_scores = scores(level_logits)",
        "level_scores = level_logits",
        """The losses are the healthy ones. Most objects are missed, and the few boxes that are left
        are right: what is missing are the unsure ones, without which there is no AP. Scores have
        lost their scale, and are logits: the sigmoid was forgotten. It changes no order, but the
        threshold of 0.05 now asks for a probability of 0.51, and the healthy network is hardly ever
        so sure. After a longer run more objects would be found, and some scores be over one,
        which no probability can be.""",
    ),
    7: Bug(
        "utils/build.py",
        "Dataset(classes, val_records, build_transform(recipe)",
        "Dataset(classes, val_records, build_transform(recipe, recipe.augment)",
        """The losses are the healthy ones. On some images every detection is right, on others every
        detection is mirrored: the validation images are augmented as the training images are. The
        detections fit what the network saw, and are compared with the truth of the image as it is
        in the file. torchvision's issue 3841 is this bug: with mirroring left on in the evaluation,
        AP fell from about 0.7 to about 0.2.""",
    ),
    8: Bug(
        "layers/priors.py",
        "prediction.permute(0, 2, 3, 1).reshape(",
        "prediction.reshape(",
        """The numbers of a map are dealt out to the priors in the wrong order, so that nearly all
        belong to a prior somewhere else. Shapes are right and nothing complains. The class loss
        falls at first, for even so the network can learn how rare objects are, and then no further.
        The box loss hardly moves at all. What a cell sees and what it should say belong to
        different places, and all that can be learned is what is usual: the few boxes that the
        network offers are the same on every image. In 2018 somebody found two orders at once in
        fpn.pytorch, where scores are normalised and where they are compared (issue 6).""",
    ),
    9: Bug(
        "utils/recipes.py",
        'iterations=1400, optimizer="adamw", lr=2e-3',
        'iterations=1400, optimizer="adamw", lr=2e-2',
        """The first iteration is the healthy one to the last digit, so images, priors, matching,
        loss and first weights are right, and what differs is the step that follows. In the warm-up
        the class loss even falls faster than the healthy one. When the warm-up ends, it rises
        again; after that both losses fall, but stay above the healthy ones to the end. The
        detections are those of a network that has learned less, and nothing else is strange about
        them: it learns, but every step goes too far. The learning rate is ten times too large. 0.02
        is a usual one for SGD, as in Detectron2, and stays in the recipe when somebody changes the
        optimizer; AdamW, whose steps do not become smaller with the gradient, needs a tenth of it.
        No number becomes infinite, so nothing complains. The file is where the other numbers of
        this run are, too: a bug need not be in the code.""",
    ),
    10: Bug(
        "retinanet.py",
        "self.class_head.last.bias, bias)",
        "self.class_head.last.bias, 0)",
        """The box loss begins as the healthy one, to the last digit, so images, priors and matching
        are right. The class loss begins dozens of times higher and falls steeply, until after some
        tens of iterations it is hardly above the healthy one: so the loss is right as well, and
        what is wrong is where it begins. Before anything is learned, every class has a probability
        of a half at every prior, and thousands of background priors have to be told first that they
        are nothing. The bias of the last layer that says so from the start was left at 0; its line
        computes it from PRIOR_PROBABILITY (Sec. 3.3). Meanwhile the gradient is all background, and
        what is learned of objects and their boxes comes later: at the end, both losses are a little
        higher, and more classes are wrong. The detections alone would only say that the training
        was too short. In the paper (Sec. 5.1) the first training, with plain cross entropy and
        without this bias, diverged.""",
    ),
}


def find_bug(bug):
    """The number of the line that a bug is in, that line, and what becomes of it."""
    source = (ROOT / bug.file).read_text()
    assert source.count(bug.old) == 1, f"{bug.old!r} is not in {bug.file} once"
    number = source[: source.index(bug.old)].count("\n") + 1
    line = source.splitlines()[number - 1]
    return number, line, line.replace(bug.old, bug.new)


def copy_project(folder, bug=None):
    """Copy the project's code into a folder, with a bug in it if there is one."""
    for room in ROOMS:
        (folder / room).mkdir(parents=True, exist_ok=True)
        for path in (ROOT / room).glob("*.py"):
            shutil.copy(path, folder / room)
    if bug:
        number, _, line = find_bug(bug)
        lines = (folder / bug.file).read_text().splitlines()
        lines[number - 1] = line
        (folder / bug.file).write_text("\n".join(lines) + "\n")
