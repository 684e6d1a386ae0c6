"""The parser of all scripts: a mistake is one line that names what was probably meant."""

import argparse
import difflib
import sys

from data.errors import UserError

# Flags of older detectors that mean nothing here -> what to type instead. docs/training.md lists
# them.
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


class Parser(argparse.ArgumentParser):
    """argparse's, but a mistake is one line that names what was probably meant."""

    def __init__(self, description):
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse(self, arguments=None):
        """The flags; every flag may be written with underscores too."""
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
    """The argument, with dashes instead of underscores if it is a flag."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument
