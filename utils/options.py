"""The command line of all scripts: the flags that a user may type.

The flags of older detectors mean here what they meant there.
"""

import argparse
import difflib
import re
import sys
from argparse import BooleanOptionalAction
from dataclasses import fields
from pathlib import Path
from typing import get_args

from data.reading import format_of_file
from data.text import UserError
from utils.build import SSD_SIDES
from utils.recipe import Recipe, label
from utils.recipes import RECIPES
from utils.saver import SAVE_FOLDER

VERSION = "onestage 0.1"  # the same as in pyproject.toml
# The first option of each group in Recipe -> the heading of the group in --help.
HEADINGS = dict(
    model="the detector",
    dataset="data",
    jitter="training",
    positive_iou="matching and loss",
    eval_every="logs and checkpoints",
    workers="hardware",
)
METAVARS = {int: "N", float: "X"}
# Our flag, or what to do instead -> the flags, and values of flags, that other programs have.
OUR_FLAGS = {
    "--resize, the short side of images; SSD has one size": "--imgsz --img --img-size --resolution",
    "--jitter, a range of --resize": "--multi-scale",
    "--root, the folder of the dataset": "--data --data-path --dataset-dir --data-dir",
    "--dataset voc --root": "--voc-root",
    "--dataset coco --root": "--coco-root",
    "--dataset, the format": "--dataset-file",
    "not needed: classes are named, and counted": "--num-classes --nc",
    "--recipe, a name or a Python file": "--config-file --config --hyp",
    "a recipe of your own, --recipe my.py": "--cfg-options",
    "--depth 18, 34, 50, 101 or 152": "--backbone",
    "--model, and --depth": "--cfg --arch",
    "--weights imagenet": "--weights-backbone --pretrained",
    "--frozen-stages, how many do not learn": "--freeze --trainable-backbone-layers",
    "--batch, a number of images; --accumulate 2 halves the memory it takes": "--batch=auto "
    "--batch-size=auto",
    "--batch": "-b",
    "--workers": "-j",
    "--accumulate": "--grad-accum-steps --accumulate-grad-batches",
    "--lr": "--lr0",
    "--base-lr, a factor on --lr": "--lr-encoder --lr-backbone",
    "--warmup, in iterations": "--warmup-epochs --warmup-iters",
    "--milestones, in iterations": "--lr-steps --lr-step-size --lr-drop",
    "--gamma": "--lr-gamma",
    'lr_schedule="cosine" in a recipe of your own': "--cos-lr --lr-scheduler",
    "--weight-decay": "--regularization-l2",
    "--optimizer": "--opt",
    "--ema, with the decay: 0.999": "--use-ema --model-ema",
    "--patience, a number of evaluations": "--early-stopping --early-stopping-patience",
    "--resume, which knows where it stopped": "--start-iter --start-epoch",
    "--negative-iou and --positive-iou": "--anchor-ious",
    "the default where the hardware is fast at it; --precision chooses": "--amp --with-apex --fp16",
    "--precision fp16": "--half",
    "not needed: --workers loads images": "--with-dali",
    "not needed: a batch has images of similar shape": "--rect --aspect-ratio-group-factor",
    "--augment or --no-augment": "--data-augmentation",
    "--log-every": "--print-freq",
    "--save-every": "--checkpoint-interval",
    "--keep-checkpoints, a number": "--save-period",
    "--logdir FOLDER for TensorBoard, or --visdom": "--wandb --tensorboard --report-to",
    "--save-folder and --name of train.py, or --output of others": "--project --output-dir "
    "--work-dir --show-dir",
    "the default: new folders get a number, and no file is replaced": "--exist-ok",
    "--device cpu, or --device cuda": "--cuda --gpu --gpu-id",
    "torchrun --nproc-per-node 8 train.py": "--gpus --num-gpus --launcher --world-size --dist-url",
    "eval.py": "--test-only --eval-only",
    "the first argument of eval.py and detect.py": "--trained-model --model-path --model "
    "--weights --checkpoint --ckpt",
    "the second argument of detect.py": "--source --image-dir --input",
    "--score-threshold of detect.py, score_threshold in a recipe of your own": "--conf "
    "--conf-thres --confidence-threshold --visual-threshold",
    "nms_iou in a recipe of your own": "--iou --iou-thres --nms-thresh",
    "--max-detections of detect.py, max_detections in a recipe of your own": "--max-det --top-k",
    "--labels yolo of detect.py": "--save-txt",
    "--json FILE of detect.py": "--save-conf",
    "not needed: eval.py writes detections.json": "--save-json",
    "--every of detect.py": "--vid-stride",
    "not needed: export.py writes ONNX": "--format --include",
}
OTHER_FLAGS = {flag: here for here, flags in OUR_FLAGS.items() for flag in flags.split()}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that answers a mistake with one line, which names what was meant."""

    def __init__(self, description):
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument(
            "--version", action="version", version=VERSION, help="print the version and exit"
        )

    def parse(self, arguments=None):
        """The values of the flags, which may be written with underscores as well as dashes."""
        arguments = sys.argv[1:] if arguments is None else arguments
        arguments = [
            re.sub("^--[^=]+", lambda flag: flag[0].replace("_", "-"), str(argument))
            for argument in arguments
        ]
        known = [flag for action in self._actions for flag in action.option_strings]
        # --batch auto is asked for as --batch=auto.
        for argument in arguments + ["=".join(pair) for pair in zip(arguments, arguments[1:])]:
            name = argument.partition("=")[0]
            # Of a flag that is known here, only some values are foreign.
            here = OTHER_FLAGS.get(argument if name in known else name)
            if here and argument not in known:
                raise UserError(f"{argument} is not known here; here it is {here}")
        flags, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].partition("=")[0]
            # YOLO's imgsz=640 has no dashes.
            here = OTHER_FLAGS.get(f"--{name}")
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "--help lists all flags"
            hint = f"here it is {here}" if here else hint
            raise UserError(f"{unknown[0]} is not known here; {hint}")
        return flags

    def error(self, message):
        raise UserError(message.replace("argument ", "", 1))


def train_parser(description):
    """The parser of train.py and tools.check: the options of a recipe, and where a run is kept."""
    parser = Parser(description)
    parser.epilog = "Defaults that are not shown are those of the recipe, which every run prints."
    add = add_flags(parser, "the detector").add_argument
    add("--recipe", metavar="NAME",
        help=f"recipe to start from: a Python file of your own, or {', '.join(RECIPES)} "
        "(default: chosen by the data)")  # fmt: skip
    add("--basenet", metavar="FILE", help="like --weights, for SSD's VGG")
    add_flags(parser, "data")
    add = add_flags(parser, "training").add_argument
    add("--schedule", dest="schedule_factor", type=float, metavar="X",
        help="stretch iterations and milestones by this factor")  # fmt: skip
    add_flags(parser, "matching and loss")
    add = add_flags(parser, "logs and checkpoints").add_argument
    add("--name", help="folder of the run in --save-folder (default: a new one)")
    add("--save-folder", type=Path, default=SAVE_FOLDER,
        help="folder of all runs (default: weights)")  # fmt: skip
    add("--resume", nargs="?", const="", metavar="FILE",
        help="go on from this checkpoint, else from the last of --name, else of the latest "
        "run")  # fmt: skip
    add_device_flags(parser)
    return parser


def add_device_flags(parser):
    """Add the flags that say where a script runs."""
    add = add_flags(parser, "hardware").add_argument
    add("--device", help="cpu, cuda, cuda:1 or 1 (default: a GPU if there is one)")
    add("--full-precision", dest="precision", action="store_const", const="float32",
        help="the same as --precision float32")  # fmt: skip


def add_flags(parser, heading):
    """Add the options below one heading of --help -> argparse's group, which takes more flags."""
    group = parser.add_argument_group(heading)
    current = None
    for option in fields(Recipe):
        current = HEADINGS.get(option.name, current)
        if current == heading and option.metadata["flag"]:
            add_flag(group, option)
    return group


def add_flag(group, option):
    """Add the flag of a field of Recipe; its type and metadata say all that argparse needs."""
    facts = option.metadata
    names = ["--" + option.name.replace("_", "-"), *facts["aliases"]]
    # Not so of schedules: --milestones may be typed with any recipe, whose schedule it replaces.
    is_of_some = facts["only"] and not facts["only"].endswith("schedule")
    notes = [f"{facts['only']} only"] if is_of_some else []
    values = {str(getattr(recipe, option.name)) for recipe in RECIPES.values()}
    if option.type in (int, float) and len(values) == 1:
        # All recipes share it.
        notes.append(f"default: {option.default}")
    words = facts["help"] + (f" ({', '.join(notes)})" if notes else "")
    if option.type is bool:
        group.add_argument(*names, action=BooleanOptionalAction, default=None, help=words)
        return
    kind = option.type
    metavar = facts["metavar"]
    nargs = "?" if facts["const"] else None
    if get_args(option.type):
        # The flag of a tuple takes several values, of the type of the tuple's items.
        kind = get_args(option.type)[0]
        nargs = len(metavar) if isinstance(metavar, tuple) else "+"
    group.add_argument(
        *names,
        type=str.lower if kind is str and facts["choices"] else kind,
        choices=facts["choices"] or None,
        nargs=nargs,
        const=facts["const"],
        metavar=metavar or (None if facts["choices"] else METAVARS.get(kind)),
        help=words,
    )


def given_fields(flags):
    """The options of a recipe that were typed: name -> value."""
    names = {field.name for field in fields(Recipe)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(flags).items()
        if name in names and value is not None
    }


def dataset_of(flags):
    """The format of the data that the flags name; None if they name none."""
    if flags.dataset and not (flags.dataset == "auto" and flags.annotations):
        return flags.dataset
    if flags.annotations:
        return format_of_file(flags.annotations)
    return "auto" if flags.root else None


def without_effect(flags, recipe):
    """A line for each option that was typed, but does nothing with this recipe."""
    given = given_fields(flags)
    return [
        f"{label(option.name)} has no effect: it is for {option.metadata['only']} only"
        for option in fields(Recipe)
        if option.name in given and not has_effect(option, recipe)
    ]


def has_effect(option, recipe):
    """Whether an option is for all recipes, or for the detector, the optimizer, the schedule or the
    kind of weights of this one."""
    detector = "SSD" if recipe.model in SSD_SIDES else "RetinaNet"
    chosen = [None, detector, recipe.optimizer, f"{recipe.lr_schedule} schedule"]
    if recipe.weights != "none":
        chosen.append("loaded weights")
    return option.metadata["only"] in chosen
