"""Checkpoints: one file holds the weights, the recipe and classes that made them, and the state of
the training."""

import errno
import os
from dataclasses import asdict, fields
from typing import NamedTuple

import torch

from data.errors import UserError
from utils.build import build_detector
from utils.conventions import Conventions
from utils.recipe import Recipe, checked
from utils.tensors import UNREADABLE, read_tensors, state_dict_of
from utils.unpickle import Placeholder


def save(path, content):
    """Write to a temporary name, then rename: whatever happens, the name holds a whole checkpoint.

    Tensors and plain values only, so that it loads without running any code. OSError where it
    cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:
        unfinished.unlink(missing_ok=True)
        number, reason = getattr(error, "errno", None), getattr(error, "strerror", None)
        if "unexpected pos" in str(error):
            # So torch says that less was written than it gave out.
            number, reason = errno.ENOSPC, os.strerror(errno.ENOSPC)
        raise OSError(number, reason or str(error).splitlines()[0]) from None


def detector_content(model, recipe, classes, iteration=0):
    """All that is needed to use a model, and how many iterations it was trained for."""
    return dict(
        model=model.state_dict(),
        recipe=asdict(recipe),
        classes=list(classes),
        iteration=iteration,
    )


def load(path):
    """The content of one of our checkpoints, as it was saved; tensors on the CPU."""
    content = read(path)
    if not is_ours(content):
        raise UserError(
            f"{path}: not a checkpoint of this program: no model, recipe and classes in it"
        )
    return content


def is_ours(content):
    """Whether a file's content is a checkpoint of this program."""
    types = dict(model=dict, recipe=dict, classes=list)
    if not all(isinstance(content.get(name), kind) for name, kind in types.items()):
        return False
    names = [*content["model"].keys(), *content["recipe"].keys(), *content["classes"]]
    tensors = content["model"].values()
    return all(isinstance(name, str) for name in names) and all(map(torch.is_tensor, tensors))


def read(path):
    """The dictionary in a file of tensors, of this program or another. Nothing in it is executed.

    Of a folder it is that of its best.pth.
    """
    if path.is_dir() and (path / "best.pth").is_file():
        path = path / "best.pth"
    before = path.with_name("previous.pth")
    hint = ""
    if path.name == "last.pth" and before.exists():
        hint = f"; the checkpoint before it: --resume {before}"
    try:
        content = read_tensors(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint{hint}") from None
    except UserError as mistake:
        raise UserError(f"{path}: {mistake}") from None
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: not a whole checkpoint ({reason}){hint}") from None
    if isinstance(content, Placeholder):
        content = state_dict_of(content)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path}: not a checkpoint of this program, nor a dictionary of tensors")
    return content


def recipe_of(content, path=""):
    """The recipe of a checkpoint's content."""
    values = dict(content["recipe"])
    known, known_conventions = (
        {field.name for field in fields(kind)} for kind in (Recipe, Conventions)
    )
    conventions = values.pop("conventions", {})
    if not isinstance(conventions, dict):
        raise UserError(f"{path}: its conventions are no dictionary")
    unknown = sorted(set(values) - known | set(conventions) - known_conventions)
    if unknown:
        raise UserError(f"{path}: its recipe has fields that are not known here: {unknown[0]}")
    return checked(Recipe(**values, conventions=Conventions(**conventions)), path)


class LoadedDetector(NamedTuple):
    """A detector that is ready to predict."""

    model: torch.nn.Module
    recipe: Recipe
    classes: list
    iteration: int  # of its training; None where the file does not tell it
    show_threshold: float  # the score with the best F1 on its validation images; or None


def build_model(content, path=""):
    """The LoadedDetector of a checkpoint's content."""
    recipe, classes = recipe_of(content, path), content["classes"]
    check_shapes(content, recipe, path)
    model, _ = build_detector(recipe, len(classes))
    model.load_state_dict(content["model"])
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{path}: {name} holds numbers that are not finite")
    model.to(memory_format=torch.channels_last).eval()
    iteration, threshold = content.get("iteration"), content.get("show_threshold")
    return LoadedDetector(model, recipe, classes, iteration, threshold)


def check_shapes(content, recipe, path):
    """An error where a checkpoint has other tensors than its detector, before that is built."""
    if not content["classes"]:
        raise UserError(f"{path}: it knows no class")
    with torch.device("meta"):
        expected = build_detector(recipe, len(content["classes"]))[0].state_dict()
    there = content["model"]
    for name in (*expected, *there):
        sizes = [tuple(part[name].shape) if name in part else "none" for part in (there, expected)]
        if sizes[0] != sizes[1]:
            what = f"{name} is {sizes[0]}, not {sizes[1]}"
        elif there[name].is_complex():
            what = f"{name} has complex numbers"
        else:
            continue
        raise UserError(f"{path}: other tensors than its detector's: {what}")
