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

from data.text import UserError
from utils.recipe import Recipe
from utils.recipes import RECIPES

# The first option of each group in Recipe -> the heading of the group in --help.
HEADINGS = dict(
    model="the detector",
    dataset="what it sees",
    jitter="how it learns",
    positive_iou="matching and loss",
    eval_every="what it tells and keeps",
    workers="where it runs",
)
METAVARS = {int: "N", float: "X"}
# Flags of older programs that do not exist here -> what to type instead; docs/training.md has the
# same list.
ANCESTORS = {
    "--cuda": "--device cpu, or --device cuda",
    "--start-iter": "--resume, which knows where it stopped",
    "--trained-model": "the first argument of eval.py and detect.py",
    "--model-path": "the first argument of eval.py and detect.py",
    "--image-dir": "the second argument of detect.py",
    "--visual-threshold": "--score-threshold of detect.py",
    "--confidence-threshold": "score_threshold in a recipe of your own",
    "--top-k": "max_detections in a recipe of your own",
    "--voc-root": "--dataset voc --root",
    "--coco-root": "--dataset coco --root",
    "--backbone": "--depth 18, 34, 50, 101 or 152",
    "--anchor-ious": "--negative-iou and --positive-iou",
    "--regularization-l2": "--weight-decay",
    "--with-apex": "the default, where the hardware has bfloat16",
    "--with-dali": "not needed: --workers loads images",
    "--work-dir": "--save-folder, and --name",
    "--cfg-options": "a recipe of your own, --recipe my.py",
    "--config-file": "--recipe, a name or a Python file",
}


class PrintVersion(argparse.Action):
    """Print the version that pyproject.toml names, and exit."""

    def __call__(self, parser, *_):
        text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
        print("onestage", re.search(r'^version = "(.+)"', text, re.MULTILINE)[1])
        parser.exit()


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that answers a mistake with one line, which names what was meant."""

    def __init__(self, description):
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument(
            "--version", action=PrintVersion, nargs=0, help="print the version and exit"
        )

    def parse(self, arguments=None):
        """The values of the flags, which may be written with underscores as well as dashes."""
        arguments = sys.argv[1:] if arguments is None else arguments
        flags, unknown = self.parse_known_args([with_dashes(argument) for argument in arguments])
        if unknown:
            name = unknown[0].partition("=")[0]
            known = [flag for action in self._actions for flag in action.option_strings]
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "--help lists all flags"
            hint = f"here it is {ANCESTORS[name]}" if name in ANCESTORS else hint
            raise UserError(f"{unknown[0]} is not known here; {hint}")
        return flags

    def error(self, message):
        raise UserError(message.replace("argument ", "", 1))


def with_dashes(argument):
    """The argument, with dashes for its underscores if it is a flag."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def train_parser(description):
    """The parser of train.py and tools.check: the options of a recipe, and where a run is kept."""
    parser = Parser(description)
    detector = add_flags(parser, "the detector")
    detector.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"recipe to start from: a Python file of your own, or {', '.join(RECIPES)} "
        "(default: chosen by the data)",
    )
    detector.add_argument("--basenet", metavar="FILE", help="like --weights, for SSD's VGG")
    add_dataset_flags(parser)
    learning = add_flags(parser, "how it learns")
    learning.add_argument(
        "--schedule",
        dest="schedule_factor",
        type=float,
        metavar="X",
        help="stretch iterations and milestones by this factor",
    )
    add_flags(parser, "matching and loss")
    run = add_flags(parser, "what it tells and keeps")
    run.add_argument("--name", help="folder of the run in --save-folder (default: a new one)")
    run.add_argument(
        "--save-folder",
        type=Path,
        default=Path("weights"),
        help="folder of all runs (default: weights)",
    )
    run.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="FILE",
        help="go on from this checkpoint, or from the last of --name",
    )
    add_device_flags(parser)
    return parser


def add_dataset_flags(parser):
    """Add the flags that say where the data are and how large the images become."""
    add_flags(parser, "what it sees")


def add_device_flags(parser):
    """Add the flags that say where a script runs."""
    flags = add_flags(parser, "where it runs")
    flags.add_argument("--device", help="cpu, cuda, cuda:1 or 1 (default: a GPU if there is one)")
    flags.add_argument(
        "--full-precision",
        dest="precision",
        action="store_const",
        const="float32",
        help="the same as --precision float32",
    )


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
    if option.type is bool:
        words = help_of(option)
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
        help=help_of(option),
    )


def help_of(option):
    """The words of an option, the detector that it is for, and a default that all recipes share."""
    only = option.metadata["only"]
    notes = [f"{only} only"] if only else []
    values = {str(getattr(recipe, option.name)) for recipe in RECIPES.values()}
    if option.type in (int, float) and len(values) == 1:
        notes.append(f"default: {option.default}")
    return option.metadata["help"] + (f" ({', '.join(notes)})" if notes else "")
