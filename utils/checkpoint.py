"""Checkpoints: one file holds the weights, the recipe and classes that made them, and where training stood."""
import os
import pickle
from dataclasses import asdict

import torch

from data.errors import UserError
from utils.build import build_detector
from utils.recipes import Recipe


def save(path, content):
    """Write to a temporary name, then rename: whatever happens meanwhile, the name holds a whole checkpoint.

    Tensors and plain values only, so that it loads without running any code.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


def detector(model, recipe, classes):
    """All that is needed to use a model."""
    return dict(model=model.state_dict(), recipe=asdict(recipe), classes=list(classes))


def load(path):
    """The content of one of our checkpoints, as it was saved; tensors on the CPU."""
    content = read(path)
    if not {"model", "recipe", "classes"} <= set(content):
        raise UserError(f"{path}: not a checkpoint of this program: no model, recipe and classes in it")
    return content


def read(path):
    """The dictionary in anybody's file of tensors. Nothing in it is executed."""
    before = path.with_name("previous.pth")
    hint = f"; the one before it: {before}" if path.name == "last.pth" and before.exists() else ""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint{hint}") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: not a whole checkpoint ({str(error).splitlines()[0][:120]}){hint}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a checkpoint of this program, nor a dictionary of tensors")
    return content


def recipe_of(content):
    return Recipe() | content["recipe"]


def load_detector(path):
    """The model of a checkpoint, ready to predict -> model, recipe, classes."""
    content = load(path)
    recipe = recipe_of(content)
    model, _ = build_detector(recipe, len(content["classes"]))
    model.load_state_dict(content["model"])
    return model.eval(), recipe, content["classes"]
