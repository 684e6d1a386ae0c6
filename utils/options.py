"""Flags: from the command line to a recipe. The flags of older detectors mean here what they meant there."""
import argparse
import runpy
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

from data.dataset import READERS
from data.errors import UserError
from layers.resnet import DEPTHS
from utils import conventions
from utils.build import MODELS, OPTIMIZERS
from utils.metrics import METRICS
from utils.recipes import RECIPES, Recipe

LEAST = dict(batch=1, accumulate=1, resize=1, max_size=1, eval_every=1, save_every=1, log_every=1, iterations=0,
             epochs=0, workers=0, warmup=0, patience=0, keep=0, freeze=0, lr=0, weight_decay=0)


def script(main):
    """Run a script. A user's mistake is one line and exit code 2; a bug keeps its traceback."""
    try:
        sys.exit(main())
    except UserError as mistake:
        # One that happened in a loader's process arrives with that process's traceback before it.
        line = str(mistake).strip().splitlines()[-1].removeprefix("data.errors.UserError: ")
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


def new_parser(description):
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
                                   allow_abbrev=False)


def parse(parser, arguments=None):
    """As parser.parse_args, with every flag also in underscores."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return parser.parse_args([dashed(one) for one in arguments])


def dashed(argument):
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def add_dataset_flags(parser):
    add = parser.add_argument_group("what it sees").add_argument
    add("--dataset", type=str.lower, choices=READERS, help="its format; shapes if not given")
    add("--root", "--dataset-root", "--coco-path", help="its folder; data/<dataset> if not given")
    add("--images", help="folder of a COCO file's images")
    add("--annotations", "--csv-train", help="a COCO or csv file, instead of --root")
    add("--val-images", help="as --images, for validation")
    add("--val-annotations", "--csv-val", help="as --annotations; held out from those if not given")
    add("--class-list", "--csv-classes", help="a csv of class,id")
    add("--classes", nargs="+", help="keep only these")
    add("--skip-bad", action="store_true", default=None, help="go on without what cannot be read")
    add("--resize", type=int, help="pixels of the short side")
    add("--max-size", type=int, help="pixels of the long side, at most")
    add("--metric", choices=METRICS, help="coco, voc07 (eleven points) or voc12 (area)")


def add_device_flags(parser):
    add = parser.add_argument_group("where it runs").add_argument
    add("--device", help="cpu or cuda; a GPU where there is one")
    add("--workers", "--num-workers", type=int, help="processes that load images")
    add("--full-precision", action="store_true", default=None, help="float32 everywhere")


def train_parser(description):
    parser = new_parser(description)
    add = parser.add_argument_group("the detector").add_argument
    add("--model", choices=MODELS, help="retinanet if not given")
    add("--recipe", help=f"to start from: a file of your own, or {', '.join(RECIPES)}; chosen by dataset if not given")
    add("--depth", type=int, choices=DEPTHS, help="of RetinaNet's ResNet")
    add("--weights", "--fine-tune", help="imagenet, coco, none (from scratch), or a checkpoint")
    add("--basenet", help="as --weights, for SSD's VGG")
    add("--freeze", type=int, help="so many stages of the base do not learn")
    add_dataset_flags(parser)
    add = parser.add_argument_group("how it learns").add_argument
    add("--jitter", type=int, nargs=2, metavar=("MIN", "MAX"), help="short side while training")
    add("--no-augment", dest="augment", action="store_false", default=None, help="only resize images")
    add("--batch", "--batch-size", type=int, help="images per iteration, of all devices together")
    add("--compile", action="store_true", default=None, help="network and loss; minutes to start with")
    add("--accumulate", type=int, help="parts that a batch goes through the network in, to save memory")
    add("--iterations", "--iters", type=int, help="optimizer steps")
    add("--epochs", type=int, help="passes over the images, instead of iterations")
    add("--schedule", dest="stretch", type=float, metavar="F", help="stretch iterations and milestones by this factor")
    add("--optimizer", choices=OPTIMIZERS)
    add("--lr", type=float, help="learning rate; the recipe's, times batch / its batch, if not given")
    add("--momentum", type=float)
    add("--weight-decay", type=float)
    add("--warmup", type=int, help="iterations")
    add("--milestones", type=int, nargs="+", help="iterations at which lr is multiplied by gamma")
    add("--gamma", type=float)
    add("--ema", type=float, help="decay of a moving average of the weights that is judged and kept; 0: none")
    add("--patience", type=int, help="stop after so many evaluations without a better result; 0: never")
    add("--seed", type=int)
    add = parser.add_argument_group("what it tells").add_argument
    add("--name", help="of the run's folder within --save-folder; a new one if not given")
    add("--save-folder", type=Path, default=Path("weights"), help="where runs are saved: weights")
    add("--eval-every", "--val-iters", type=int, help="iterations between evaluations")
    add("--save-every", type=int, help="iterations between checkpoints")
    add("--log-every", type=int, help="iterations between lines of the log")
    add("--keep", type=int, help="also keep the last so many periodic checkpoints under names of their own")
    add("--resume", nargs="?", const="", metavar="FILE", help="go on from this checkpoint, or from the last of --name")
    add("--visdom", nargs="?", const="localhost:8097", metavar="SERVER", help="show it there: localhost:8097")
    add("--logdir", help="folder of TensorBoard's files")
    add_device_flags(parser)
    return parser


def named_recipe(flags):
    """The recipe to start from: the one that was asked for, or else that of the model and dataset."""
    if flags.recipe and Path(flags.recipe).suffix == ".py":
        return recipe_file(flags.recipe)
    model = flags.model or ("ssd300" if flags.basenet else "retinanet")
    if flags.root and not (flags.dataset or flags.annotations or flags.recipe):
        raise UserError(f"--root {flags.root}: say what it holds with --dataset, one of {', '.join(READERS)}")
    kind = "csv" if str(flags.annotations).endswith(".csv") else "coco"
    dataset = flags.dataset or (kind if flags.annotations else "shapes")
    name = flags.recipe or f"{model}_{dataset}".replace("retinanet_shapes", "shapes")
    if flags.recipe and name not in RECIPES:
        raise UserError(f"no recipe {name!r}: use a file of your own, *.py, or {', '.join(RECIPES)}")
    recipe = RECIPES.get(name, RECIPES[f"{model}_own"])
    return recipe if flags.recipe else recipe | dict(dataset=dataset)


def recipe_file(path):
    """The recipe named `recipe` in a Python file of the user's; the file may start from any of ours."""
    try:
        found = runpy.run_path(path).get("recipe")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (TypeError, SyntaxError, ImportError, NameError) as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(found, Recipe):
        raise UserError(f"{path}: no recipe in it; expected a line like: recipe = retinanet_own | dict(batch=4)")
    return found


def resolve(flags, recipe):
    """The recipe, changed by the flags that were given."""
    names = {one.name for one in fields(Recipe)}
    given = {name: tuple(value) if isinstance(value, list) else value
             for name, value in vars(flags).items() if name in names and value is not None}
    changes = dict(given)
    if getattr(flags, "basenet", None):
        changes["weights"] = flags.basenet
    if str(given.get("visdom")).lower() in ("true", "false"):
        changes["visdom"] = "localhost:8097" if given["visdom"].lower() == "true" else ""
    if "resize" in given and "jitter" not in given and recipe.jitter:
        # The range of short sides follows the one that was given.
        changes["jitter"] = tuple(round(side * given["resize"] / recipe.resize) for side in recipe.jitter)
    if "batch" in given and "lr" not in given:
        changes["lr"] = recipe.lr * given["batch"] / recipe.batch
    return checked(recipe | changes | lengths(given, recipe, getattr(flags, "stretch", None)))


def lengths(given, recipe, stretch):
    """Where the length of training changes, milestones keep their share of it; warm-up takes a tenth at most."""
    if not stretch and not {"iterations", "epochs"} & set(given):
        return {}
    before, drops = recipe.iterations, recipe.milestones
    if recipe.epochs:
        before, drops = recipe.epochs, recipe.milestone_epochs
    unit = "epochs" if "epochs" in given or recipe.epochs and "iterations" not in given else "iterations"
    length = round(given.get(unit, before) * (stretch or 1))
    if "milestones" in given:
        milestones = tuple(round(one * (stretch or 1)) for one in given["milestones"])
        epochs = ()
    else:
        milestones = epochs = tuple(round(one * length / before) for one in drops)
    if unit == "epochs":
        return dict(epochs=length, milestone_epochs=epochs, milestones=milestones)
    return dict(iterations=length, epochs=0, milestone_epochs=(), milestones=milestones,
                warmup=given.get("warmup", min(recipe.warmup, length // 10)))


def checked(recipe):
    """The recipe, if its numbers can be trained with."""
    for name, least in LEAST.items():
        if getattr(recipe, name) < least:
            raise UserError(f"--{name.replace('_', '-')} {getattr(recipe, name)}: must be at least {least}")
    if recipe.batch % recipe.accumulate:
        raise UserError(f"--batch {recipe.batch} cannot be cut into --accumulate {recipe.accumulate} equal parts")
    return recipe


def describe(recipe):
    """The recipe in a few lines: every field, in its order."""
    words = [f"{one.name}={getattr(recipe, one.name)!r}".replace("'", "").replace(", ", ",") for one in fields(recipe)
             if one.name != "conventions"] + [f"conventions: {conventions.describe(recipe.conventions)}"]
    return textwrap.fill("  ".join(words), width=110, break_long_words=False, break_on_hyphens=False)
