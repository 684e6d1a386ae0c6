"""The command line of all scripts: the flags that a user may type, and how a script ends.

The flags of older detectors mean here what they meant there.
"""

import argparse
import difflib
import multiprocessing
import signal
import sys
from argparse import BooleanOptionalAction
from pathlib import Path

import torch

from data.dataset import DATASETS
from data.errors import UserError
from layers.resnet import DEPTHS
from retinanet import FINEST_STRIDES
from utils.build import MODELS, OPTIMIZERS
from utils.evaluation.metrics import METRICS
from utils.parallel import PRECISIONS
from utils.recipes import RECIPES
from utils.stop import stop_early

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


def add_dataset_flags(parser):
    """The flags that say where the images and their boxes are, and how large they are seen."""
    add = parser.add_argument_group("what it sees").add_argument
    add(
        "--dataset",
        type=str.lower,
        choices=DATASETS,
        metavar="NAME",
        help=f"its format: {', '.join(DATASETS)}; shapes if no data is named, else auto",
    )
    add("--root", "--dataset-root", "--coco-path", help="its folder; data/<dataset> if not given")
    add("--images", help="folder of a COCO file's images")
    add("--annotations", "--csv-train", help="a COCO or csv file, instead of --root")
    add("--val-images", help="as --images, for validation")
    add("--val-annotations", "--csv-val", help="as --annotations; else some of those are held out")
    add("--class-list", "--csv-classes", help="a csv of class,id")
    add("--classes", nargs="+", metavar="NAME", help="keep only these")
    add("--val-share", type=float, metavar="SHARE", help="held out where there is no val: 0.2")
    add("--skip-bad", action="store_true", default=None, help="go on without what cannot be read")
    add("--resize", type=int, metavar="PIXELS", help="short side")
    add("--max-size", type=int, metavar="PIXELS", help="long side, at most")
    add("--metric", choices=METRICS, help="coco, voc07 (eleven points) or voc12 (area)")


def add_device_flags(parser):
    """The flags that say where a script runs."""
    add = parser.add_argument_group("where it runs").add_argument
    add("--device", help="cpu, cuda, cuda:1 or 1; a GPU where there is one")
    add("--workers", "--num-workers", type=int, metavar="N", help="processes that load images")
    add("--precision", choices=PRECISIONS, help="auto: bf16 or fp16 where it is fast")
    add("--full-precision", dest="precision", action="store_const", const="float32",
        help="the same as --precision float32")  # fmt: skip


def train_parser(description):
    """The flags of train.py and of tools.check."""
    parser = Parser(description)
    add_detector_flags(parser)
    add_dataset_flags(parser)
    add_learning_flags(parser)
    add_loss_flags(parser)
    add_run_flags(parser)
    add_device_flags(parser)
    return parser


def add_detector_flags(parser):
    add = parser.add_argument_group("the detector").add_argument
    add("--model", type=str.lower, choices=MODELS, help="retinanet if not given")
    add(
        "--recipe",
        metavar="NAME",
        help=f"to start from: a Python file of yours, or {', '.join(RECIPES)}; "
        "chosen by the data if not given",
    )
    add("--depth", type=int, choices=DEPTHS, help="of RetinaNet's ResNet")
    add("--finest-stride", type=int, choices=FINEST_STRIDES, help="4: a finer level for small "
        "objects, of RetinaNet's; 8 if not given")  # fmt: skip
    add("--weights", "--fine-tune", metavar="WHICH",
        help="imagenet, imagenet_v2, coco, none (random), or a checkpoint's file")  # fmt: skip
    add("--basenet", metavar="FILE", help="as --weights, for SSD's VGG")
    add("--fit-priors", action=BooleanOptionalAction, default=None,
        help="choose sizes and ratios of the priors by the data")  # fmt: skip
    add("--frozen-stages", type=int, metavar="N", help="of the base, that do not learn")
    add(
        "--prior-probability", type=float, metavar="P", help="of RetinaNet's untrained priors: 0.01"
    )


def add_learning_flags(parser):
    add = parser.add_argument_group("how it learns").add_argument
    add("--jitter", type=int, nargs=2, metavar=("MIN", "MAX"), help="short side while training")
    add("--scale-jitter", type=float, nargs=2, metavar=("MIN", "MAX"),
        help="enlarge RetinaNet's pictures so many times while training, and cut them")  # fmt: skip
    add("--no-augment", dest="augment", action="store_false", default=None, help="only resize")
    add("--batch", "--batch-size", type=int, metavar="N",
        help="images per iteration, of all devices together")  # fmt: skip
    add("--accumulate", type=int, metavar="N", help="micro-batches of a batch, to save memory")
    add("--compile", action="store_true", default=None, help="network and loss; takes minutes")
    add("--iterations", "--iters", type=int, metavar="N", help="optimizer steps")
    add("--epochs", type=int, metavar="N", help="passes over the images, instead of iterations")
    add("--schedule", dest="schedule_factor", type=float, metavar="F",
        help="stretch iterations and milestones by this factor")  # fmt: skip
    add("--optimizer", type=str.lower, choices=OPTIMIZERS)
    add(
        "--lr",
        "--learning-rate",
        type=float,
        help="learning rate; else the recipe's, times batch / its batch",
    )
    add("--momentum", type=float)
    add("--weight-decay", type=float)
    add("--warmup", type=int, metavar="N", help="iterations")
    add("--milestones", type=int, nargs="+", metavar="N", help="where lr is multiplied by gamma")
    add("--gamma", type=float, help="see --milestones")
    add("--max-grad-norm", type=float, metavar="NORM", help="gradients are clipped to it")
    add(
        "--ema",
        type=float,
        metavar="DECAY",
        help="of averaged weights, evaluated and kept; 0: none",
    )
    add("--patience", type=int, metavar="N",
        help="stop after so many evaluations without a better result; 0: never")  # fmt: skip
    add("--seed", type=int)


def add_loss_flags(parser):
    add = parser.add_argument_group("matching and loss").add_argument
    add("--positive-iou", type=float, metavar="IOU", help="from here on a prior has an object: 0.5")
    add("--negative-iou", type=float, metavar="IOU", help="below it is background: 0.4, SSD 0.5")
    add("--focal-alpha", type=float, metavar="A", help="weight of the objects: 0.25")
    add("--focal-gamma", type=float, metavar="G", help="0: cross entropy; 2 in the paper")
    add("--box-loss", choices=("smooth_l1", "giou"), help="RetinaNet's")
    add("--box-weight", type=float, metavar="W", help="of the box loss beside the class loss: 1")
    add("--negatives-per-positive", type=int, metavar="N", help="SSD's hard negatives: 3")


def add_run_flags(parser):
    add = parser.add_argument_group("what it tells and keeps").add_argument
    add("--name", help="of the run's folder within --save-folder; a new one if not given")
    add("--save-folder", type=Path, default=Path("weights"), help="where runs are saved: weights")
    add("--eval-every", "--val-iters", type=int, metavar="N", help="iterations")
    add("--save-every", type=int, metavar="N", help="iterations between checkpoints")
    add("--log-every", type=int, metavar="N", help="iterations between lines of the log")
    add("--keep-checkpoints", type=int, metavar="N",
        help="keep the last N periodic checkpoints under names of their own")  # fmt: skip
    add("--resume", nargs="?", const="", metavar="FILE",
        help="go on from this checkpoint, or from the last of --name")  # fmt: skip
    add("--visdom", nargs="?", const="localhost:8097", metavar="SERVER", help="localhost:8097")
    add("--logdir", help="folder of TensorBoard's files")


OUT_OF_MEMORY = (
    "out of memory: a smaller --batch, a larger --accumulate (the same batch in more parts) or a "
    "smaller --resize need less; what was saved is kept, and --resume goes on from it"
)


def run_script(main):
    """Run a script. A user's mistake is one line and exit code 2; a bug keeps its traceback."""
    signal.signal(signal.SIGINT, stop_early)
    try:
        code = main()
    except UserError as mistake:
        # One that happened in a loader's process arrives with that process's traceback before it.
        line = str(mistake).strip().splitlines()[-1].removeprefix("data.errors.UserError: ")
        print(f"error: {line}", file=sys.stderr)
        code = 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: {OUT_OF_MEMORY}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("stopped before the training began", file=sys.stderr)
        code = 128 + signal.SIGINT
    finally:
        # Processes that load images wait for a signal that they ignore: they would never end.
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for process in multiprocessing.active_children():
            process.kill()
    sys.exit(code)


def is_out_of_memory(error):
    """Whether an error says that the computer's or the GPU's memory is used up."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        "DefaultCPUAllocator" in str(error)
    )
