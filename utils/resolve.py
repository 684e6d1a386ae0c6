"""From flags to a recipe: which recipe to start from, and what the flags change in it."""

import math
import runpy
import shutil
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

from data.errors import UserError
from data.formats import voc
from data.formats.coco import is_official
from utils import conventions
from utils.build import SSD_SIDES
from utils.recipe import Recipe, checked
from utils.recipes import RECIPES, WITHOUT_GPU

# Where the data come from: naming one of them on the command line replaces them all.
SOURCE = ("dataset", "root", "images", "annotations", "val_images", "val_annotations", "class_list")
MANY_IMAGES = 1000  # from so many on, a dataset gets the recipe of its name


def starting_recipe(flags, model=None):
    """The recipe to start from: the one that was asked for, or else that of model and dataset."""
    if flags.recipe and Path(flags.recipe).suffix == ".py":
        return recipe_file(flags.recipe)
    if flags.recipe and flags.recipe not in RECIPES:
        names = ", ".join(RECIPES)
        raise UserError(f"no recipe {flags.recipe!r}: use a Python file of yours, *.py, or {names}")
    if flags.recipe:
        return RECIPES[flags.recipe]
    model = model or flags.model or ("ssd300" if flags.basenet else "retinanet")
    dataset = dataset_of(flags) or "shapes"
    name = f"{model}_{dataset}".replace("retinanet_shapes", "shapes")
    return RECIPES.get(name, RECIPES[f"{model}_custom"]) | dict(dataset=dataset)


def dataset_of(flags):
    """The format of the data that the flags name; None where they name none."""
    if flags.dataset:
        return flags.dataset
    if flags.annotations:
        return "csv" if str(flags.annotations).endswith(".csv") else "coco"
    return "auto" if flags.root else None


def fit_recipe(flags, classes, num_images, learned, has_gpu):
    """The recipe for data that have been read, and a line that says why it is this one.

    learned: what a file of weights fixes, by the recipe's names; a flag must not contradict it.
    """
    for name, value in learned.items():
        typed = getattr(flags, name, None)
        if typed is not None and typed != value:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {typed}, but {flags.weights} is of a {flag} {value}")
    recipe = starting_recipe(flags, learned.get("model"))
    reason = f"recipe {flags.recipe}, as asked for"
    if not flags.recipe:
        from_scratch = flags.weights == "none"
        recipe, reason = by_data(recipe, classes, num_images, has_gpu, from_scratch)
    if learned:
        recipe |= dict(fit_priors=False)
    # What the weights fix is stronger than the recipe, and was compared with the flags above.
    return resolve(flags, recipe) | learned, reason


def by_data(recipe, classes, num_images, has_gpu, from_scratch):
    """The published recipe for a published dataset, a custom one for any other."""
    dataset, model = recipe.dataset, recipe.model
    expected = dict(coco=is_official(classes), voc=set(classes) == set(voc.CLASSES))
    published = f"{model}_{dataset}" in RECIPES and expected.get(dataset, True)
    if dataset == "shapes" or published and num_images >= MANY_IMAGES:
        return recipe, f"recipe {recipe_name(recipe)}: it is made for {dataset}"
    name = f"{model}_scratch" if from_scratch else f"{model}_custom"
    custom, where = RECIPES[name] | dict(dataset=dataset), "own data"
    if not has_gpu and name in WITHOUT_GPU:
        custom |= WITHOUT_GPU[name]
        where = "own data on a machine without a GPU"
    # 80 passes over 300 images; over four times as many, half the passes.
    iterations = custom.iterations * math.sqrt(num_images / 300)
    iterations = min(max(round(iterations, -2), 1000), 30_000)
    milestones = tuple(
        round(milestone * iterations / custom.iterations) for milestone in custom.milestones
    )
    custom |= dict(iterations=int(iterations), milestones=milestones)
    return custom, (
        f"recipe {name}: {where}, {num_images} images of {len(classes)} classes; "
        f"--recipe chooses another"
    )


def recipe_name(recipe):
    """The name of one of our recipes."""
    for name, value in RECIPES.items():
        if value == recipe:
            return name
    return f"{recipe.model}_{recipe.dataset}"


def recipe_file(path):
    """The recipe named `recipe` in a Python file of the user's; it may import others beside it."""
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        found = runpy.run_path(path).get("recipe")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (TypeError, SyntaxError, ImportError, NameError, ValueError, KeyError) as error:
        raise UserError(f"{path}: {error}") from None
    finally:
        sys.path.pop(0)
    if not isinstance(found, Recipe):
        example = "recipe = retinanet_custom | dict(batch=4)"
        raise UserError(f"{path}: no recipe in it; expected a line like: {example}")
    return checked(found, path)


def resolve(flags, recipe):
    """The recipe, changed by the flags that were given."""
    given = given_fields(flags)
    changes = dict(given)
    if set(SOURCE) & set(given):
        kept = dict(dataset=dataset_of(flags))
        changes = {name: getattr(Recipe(), name) for name in SOURCE} | kept | changes
    if getattr(flags, "basenet", None):
        changes["weights"] = flags.basenet
    if str(given.get("visdom")).lower() in ("true", "false"):
        changes["visdom"] = "localhost:8097" if given["visdom"].lower() == "true" else ""
    if "resize" in given and "jitter" not in given and recipe.jitter:
        # The range of short sides follows the one that was given.
        scale = given["resize"] / recipe.resize
        changes["jitter"] = tuple(round(side * scale) for side in recipe.jitter)
    if "batch" in given and "lr" not in given:
        changes["lr"] = recipe.lr * given["batch"] / recipe.batch
    changes |= schedule_changes(given, recipe, getattr(flags, "schedule_factor", None) or 1)
    return checked(recipe | changes)


def refuse_changes(flags, stored):
    """An error where a flag would change what a checkpoint that is resumed has learned."""
    if getattr(flags, "fit_priors", False):
        raise UserError("--resume with --fit-priors: the checkpoint has learned its own priors")
    for name in ("model", "depth", "optimizer", "frozen_stages", "weights"):
        typed = getattr(flags, name, None)
        if typed is not None and typed != getattr(stored, name):
            raise UserError(
                f"--resume with --{name.replace('_', '-')} {typed}: the checkpoint has "
                f"{getattr(stored, name)}; to start another training from it, use --weights"
            )


def given_fields(flags):
    """The recipe's fields that the flags give, by name."""
    names = {field.name for field in fields(Recipe)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(flags).items()
        if name in names and value is not None
    }


def schedule_changes(given, recipe, factor):
    """Where the length of training changes, milestones keep their share of it.

    Warm-up then takes a tenth of it at most.
    """
    if factor == 1 and not {"iterations", "epochs"} & set(given):
        return {}
    in_epochs = "epochs" in given or recipe.epochs and "iterations" not in given
    before = recipe.epochs or recipe.iterations
    drops = recipe.milestone_epochs if recipe.epochs else recipe.milestones
    length = round(given.get("epochs" if in_epochs else "iterations", before) * factor)
    scaled = tuple(round(drop * length / before) for drop in drops)
    milestones = scaled
    if "milestones" in given:
        milestones = tuple(round(milestone * factor) for milestone in given["milestones"])
        scaled = ()
    if in_epochs:
        return dict(epochs=length, milestone_epochs=scaled, milestones=milestones)
    warmup = given.get("warmup", min(recipe.warmup, length // 10))
    return dict(
        iterations=length, epochs=0, milestone_epochs=(), milestones=milestones, warmup=warmup
    )


def in_iterations(recipe, num_images):
    """A recipe that counts in epochs, in iterations: an epoch is as many as the images fill."""
    if not recipe.epochs:
        return recipe
    per_epoch = max(num_images // recipe.batch, 1)
    milestones = tuple(epoch * per_epoch for epoch in recipe.milestone_epochs)
    return recipe | dict(
        iterations=recipe.epochs * per_epoch,
        epochs=0,
        milestone_epochs=(),
        milestones=milestones or recipe.milestones,
    )


def describe_recipe(recipe):
    """The nearest of our recipes, and what differs from it; all of it is in recipe.json."""
    options = {name: differences(recipe, other) for name, other in RECIPES.items()}
    name = min(options, key=lambda name: len(options[name]))
    words = [f"{field}={value}" for field, value in options[name].items()]
    text = "  ".join([f"as {name} in utils/recipes.py", *(["but"] if words else []), *words])
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    return textwrap.fill(text, width=width, break_long_words=False, break_on_hyphens=False)


def differences(recipe, other):
    """The fields in which a recipe differs from another and that have an effect, as text."""
    detector = "SSD" if recipe.model in SSD_SIDES else "RetinaNet"
    in_effect = (None, detector, f"{recipe.schedule} schedule")
    values = {
        known.name: getattr(recipe, known.name)
        for known in fields(recipe)
        if known.metadata["only"] in in_effect
        and getattr(recipe, known.name) != getattr(other, known.name)
    }
    if "base_priors" in values:
        values["base_priors"] = "the publisher's"
    if "conventions" in values:
        values["conventions"] = conventions.describe(recipe.conventions)
    return {name: str(value).replace("'", "").replace(", ", ",") for name, value in values.items()}
