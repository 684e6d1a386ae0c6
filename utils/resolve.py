"""From flags to the recipe of a run: a recipe by name or by the data, changed by the flags."""

import math
import runpy
import shutil
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

from data.formats import voc
from data.formats.coco import is_official
from data.summary import resized_boxes
from data.text import UserError, counted
from utils.build import with_sides
from utils.fit_priors import fit_priors, proposal_line
from utils.options import dataset_of, given_fields, has_effect
from utils.recipe import MAX_NUMBER, Recipe, checked, label
from utils.recipes import RECIPES, WITHOUT_GPU

# Where the data are: a flag that names one of these replaces them all.
SOURCE = ("dataset", "root", "images", "annotations", "val_images", "val_annotations", "class_list")
# What decides how a result is measured; the images are compared themselves.
RESULT_FIELDS = {"metric", "resize", "max_size"}
# With fewer images, even data of COCO's format and classes are somebody's own, not COCO.
MIN_PUBLISHED_IMAGES = 1000


def asked_recipe(flags):
    """The recipe that the flags name, or else that of the model and of the data's format, with the
    flags applied. What the data and the weights hold may change it."""
    if flags.recipe in RECIPES:
        recipe = RECIPES[flags.recipe]
    elif flags.recipe and Path(flags.recipe).suffix == ".py":
        recipe = recipe_file(flags.recipe)
    elif flags.recipe:
        raise UserError(
            f"no recipe {flags.recipe!r}: use a Python file of yours, *.py, or {', '.join(RECIPES)}"
        )
    else:
        model = flags.model or ("ssd300" if flags.basenet else "retinanet")
        dataset = dataset_of(flags) or "shapes"
        recipe = RECIPES.get(recipe_name(model, dataset), RECIPES[f"{model}_custom"])
        recipe |= dict(dataset=dataset)
    return with_flags(recipe, flags)


def resolve_recipe(flags, asked, classes, num_images, device, weights):
    """The recipe of a run, and a line that says why it is this one.

    asked: what asked_recipe returned; unless the flags name a recipe, the recipe for these data
    takes its place, and the flags are applied to that. classes, num_images: what the training
    images hold. weights: the Weights to start from, whose facts no flag may contradict.
    """
    learned = weights.changes
    for name, value in learned.items():
        typed = getattr(flags, name, None)
        if typed is not None and typed != value:
            flag = label(name)
            raise UserError(f"{flag} {typed}: {asked.weights} was made with {flag} {value}")
    model = learned.get("model", asked.model)
    if flags.recipe and model != asked.model:
        raise UserError(f"--recipe {flags.recipe}: {asked.weights} is of another model, {model}")
    if flags.recipe:
        recipe, reason = asked, f"recipe {flags.recipe}, as asked for"
        if decided := differences(asked | learned, asked):
            reason += f", but {asked.weights} decides {', '.join(decided)}"
    else:
        recipe, reason = recipe_by_data(asked | learned, classes, num_images, device)
        # The weights have been loaded already, so they replace those of the data's recipe.
        recipe = with_flags(recipe | dict(weights=asked.weights), flags)
        if weights.classes and flags.fit_priors is None:
            # For classes and sizes that it has learned, a detector needs no other priors.
            is_same_size = weights.resize in (None, recipe.resize)
            recipe |= dict(fit_priors=not (is_same_size and set(classes) <= set(weights.classes)))
    recipe = in_iterations(recipe | learned, num_images, flags.warmup)
    if recipe.iterations < 1:
        factor = flags.schedule_factor
        cause = f"--schedule {factor:g}" if factor else f"--recipe {flags.recipe}"
        raise UserError(f"{cause}: 0 iterations; must be at least 1")
    return with_absolute_paths(recipe), reason


def fitted_recipe(recipe, dataset, has_heads):
    """The recipe with the priors that fit a dataset's objects, and a line that says which.

    has_heads: whether the weights are of a detector. Its deltas are relative to the prior, so they
    are a good start for priors of other sizes and ratios, if there are as many in a cell.
    """
    boxes = resized_boxes(dataset)[~dataset.records.ignore]
    changes, before, after = fit_priors(boxes, recipe, keep_number=has_heads)
    return recipe | changes, proposal_line(changes, before, after)


def resumed_recipe(flags, stored):
    """The recipe of a checkpoint, changed by the flags, unless one would change what it learned."""
    another = "to start another run from it, use --weights"
    for name in ("recipe", "fit_priors", "basenet", "schedule_factor"):
        if getattr(flags, name):
            flag = label(name).removesuffix("-factor")
            raise UserError(f"--resume with {flag}: the checkpoint has its own; {another}")
    if flags.ema and not stored.ema:
        raise UserError(f"--resume with --ema {flags.ema}: the checkpoint has no averaged weights")
    given = given_fields(flags)
    network = ("model", "depth", "base_width", "finest_stride", "prior_probability")
    for name in (*network, "optimizer", "frozen_stages", "weights", "only_base", "classes"):
        if name in given and given[name] != getattr(stored, name):
            raise UserError(
                f"--resume with {label(name)} {given[name]}: the checkpoint has "
                f"{getattr(stored, name)}; {another}"
            )
    # Only what was typed decides where anything is written or sent.
    recipe = with_flags(stored | dict(logdir="", visdom=""), flags)
    if not recipe.epochs and recipe.iterations >= stored.iterations:
        # A longer run moves neither its warm-up nor the drops of lr that it may have been through.
        kept = {name for name in ("warmup", "milestones") if name not in given}
        recipe |= {name: getattr(stored, name) for name in kept}
    return with_absolute_paths(recipe)


def changes_results(before, recipe):
    """Whether results of evaluations by one recipe cannot be compared with those by the other."""
    return not RESULT_FIELDS.isdisjoint(differences(recipe, before))


def with_absolute_paths(recipe):
    """The recipe with absolute paths, so that eval.py and --resume find the data anywhere."""
    paths = {name: getattr(recipe, name) for name in SOURCE if name != "dataset"}
    return recipe | {name: str(Path(path).absolute()) for name, path in paths.items() if path}


def recipe_name(model, dataset):
    """The name that a model's recipe for a dataset has, if there is one."""
    return "shapes" if (model, dataset) == ("retinanet", "shapes") else f"{model}_{dataset}"


def recipe_by_data(asked, classes, num_images, device):
    """Our recipe for this model and dataset, if the data are that dataset itself, else the one for
    own images; and a line that says why. asked names the model, the weights and the format."""
    model, dataset = asked.model, asked.dataset
    name = recipe_name(model, dataset)
    is_published = name in RECIPES and num_images >= MIN_PUBLISHED_IMAGES
    if dataset == "coco":
        is_published = is_published and is_official(classes)
    if dataset == "voc":
        is_published = is_published and set(classes) == set(voc.CLASSES)
    if dataset == "shapes" or is_published:
        return RECIPES[name], f"recipe {name}, made for {dataset}"
    name = f"{model}_scratch" if asked.weights == "none" else f"{model}_custom"
    custom = RECIPES[name] | dict(dataset=dataset)
    where = "own data"
    if device.type == "cpu":
        custom |= WITHOUT_GPU[model]
        where = "own data on a machine without a GPU"
    # The recipe's number is for 300 images. Four times as many images get twice as many iterations.
    iterations = custom.iterations * math.sqrt(num_images / 300)
    iterations = min(max(round(iterations, -2), 1000), 30_000)
    return custom | dict(iterations=int(iterations)), (
        f"recipe {name}: {where}, {counted(num_images, 'image')} of "
        f"{counted(len(classes), 'class')}; --recipe chooses another"
    )


def recipe_file(path):
    """What a user's Python file calls `recipe`; the file may import others that lie beside it."""
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        found = runpy.run_path(path).get("recipe")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (Exception, SystemExit) as error:
        # It is somebody's program, which may fail in any way.
        raise UserError(f"{path}: {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    if not isinstance(found, Recipe):
        example = "recipe = retinanet_custom | dict(batch=4)"
        raise UserError(f"{path}: no recipe in it; expected a line like: {example}")
    return checked(found, path)


def with_flags(recipe, flags):
    """The recipe, changed by the flags that were given and by what follows from them."""
    given = given_fields(flags)
    low, high = given.get("jitter", (recipe.resize, recipe.resize))
    if "resize" not in given and 0 < low <= high and not low <= recipe.resize <= high:
        # Images are validated in a size that they were trained in, by default the largest.
        given |= dict(resize=high)
    changes = with_sides(recipe, given) | source_changes(flags, given)
    if getattr(flags, "basenet", None):
        if "weights" in given:
            raise UserError("--basenet and --weights both name weights: use only one of them")
        changes["weights"] = flags.basenet
    # ssd.pytorch's --visdom takes a truth value.
    if str(given.get("visdom")).lower() in ("true", "false"):
        changes["visdom"] = "localhost:8097" if given["visdom"].lower() == "true" else ""
    if "milestones" in given:
        changes |= dict(lr_schedule="milestones", milestone_epochs=())
    elif given.get("gamma", recipe.gamma) != recipe.gamma and recipe.lr_schedule == "cosine":
        raise UserError(f"--gamma {given['gamma']}: name --milestones, at which lr is to fall, too")
    if "batch" in given and "lr" not in given and hasattr(flags, "lr"):
        # In training, the learning rate follows the batch (Goyal et al., 2017).
        changes["lr"] = recipe.lr * given["batch"] / recipe.batch
    stride = given.get("finest_stride", recipe.finest_stride)
    if recipe.model == "retinanet" and stride != recipe.finest_stride:
        # Levels begin one later, or one earlier, for which no priors are listed.
        later = recipe.prior_sizes[1:] if stride > recipe.finest_stride else ()
        changes |= dict(prior_sizes=later, base_priors=())
    factor = getattr(flags, "schedule_factor", None)
    changes |= schedule_changes(given, recipe, 1 if factor is None else factor)
    return checked(recipe | changes)


def source_changes(flags, given):
    """What the flags say of where the data are, in place of all that the recipe says of it."""
    typed = {name: given[name] for name in SOURCE if name in given}
    if not typed:
        return {}
    dataset = dataset_of(flags)
    for name in ("images", "val_images", "val_annotations", "class_list"):
        if name in typed and "annotations" not in typed:
            raise UserError(f"{label(name)} {typed[name]}: name --annotations as well")
    if "root" in typed and "annotations" in typed:
        raise UserError(f"--root {typed['root']}: with --annotations, the folder is --images")
    if "class_list" in typed and dataset != "csv":
        raise UserError(f"--class-list {typed['class_list']}: only for csv files of annotations")
    if dataset is None:
        empty = next(name for name, value in typed.items() if not value)
        raise UserError(f"{label(empty)} '': must not be empty")
    return {name: getattr(Recipe(), name) for name in SOURCE} | typed | dict(dataset=dataset)


def schedule_changes(given, recipe, factor):
    """What follows from a new length of the run: milestones keep their share of it, and the
    warm-up takes at most a tenth."""
    if {"iterations", "epochs"} <= set(given):
        raise UserError("--iters and --epochs both say how long to train: use only one of them")
    for name in ("iterations", "epochs"):
        if given.get(name) == 0:
            raise UserError(f"{label(name)} 0: must be at least 1")
    if not 0 < factor < MAX_NUMBER:
        raise UserError(f"--schedule {factor:g}: must be over 0 and below {MAX_NUMBER:g}")
    if factor == 1 and not {"iterations", "epochs"} & set(given):
        return {}
    in_epochs = "epochs" in given or recipe.epochs and "iterations" not in given
    before = recipe.epochs or recipe.iterations
    drops = recipe.milestone_epochs if recipe.epochs else recipe.milestones
    length = round(given.get("epochs" if in_epochs else "iterations", before) * factor)
    drops = tuple(round(drop * length / max(before, 1)) for drop in drops)
    changes = dict(iterations=0, epochs=0, milestones=(), milestone_epochs=())
    if in_epochs:
        changes |= dict(epochs=length, milestone_epochs=drops)
    else:
        warmup = given.get("warmup", min(recipe.warmup, length // 10))
        changes |= dict(iterations=length, milestones=drops, warmup=warmup)
    if "milestones" in given:
        # They are in iterations, whatever the length is given in.
        milestones = tuple(round(milestone * factor) for milestone in given["milestones"])
        changes |= dict(milestones=milestones, milestone_epochs=())
    return changes


def in_iterations(recipe, num_images, warmup=None):
    """The recipe with its epochs counted in iterations, of which each takes one batch of images;
    warmup is the flag, which stays as it was typed."""
    if not recipe.epochs:
        return recipe
    given = dict(iterations=recipe.epochs * max(num_images // recipe.batch, 1))
    if warmup is not None:
        given["warmup"] = warmup
    if not recipe.milestone_epochs:
        # Those that were typed are in iterations already.
        given["milestones"] = recipe.milestones
    return recipe | schedule_changes(given, recipe, factor=1)


def describe_recipe(recipe):
    """As text, the nearest of our recipes and what differs from it; recipe.json holds all of it."""
    differing = {name: differences(recipe, other) for name, other in RECIPES.items()}
    name = min(differing, key=lambda name: len(differing[name]))
    words = [f"{option}={value}" for option, value in differing[name].items()]
    text = "  ".join([f"as {name} in utils/recipes.py" + (", but with" if words else ""), *words])
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    return textwrap.fill(text, width=width, break_long_words=False, break_on_hyphens=False)


def differences(recipe, other):
    """The options that differ between two recipes and have an effect: name -> value as text."""
    values = {
        option.name: getattr(recipe, option.name)
        for option in fields(recipe)
        if has_effect(option, recipe)
        and getattr(recipe, option.name) != getattr(other, option.name)
    }
    if "base_priors" in values:
        values["base_priors"] = "the publisher's"
    return {name: str(value).replace("'", "").replace(", ", ",") for name, value in values.items()}
