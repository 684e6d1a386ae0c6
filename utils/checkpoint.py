"""Checkpoints: one file holds the weights, the recipe and classes that made them, and where training stood."""
import os
import pickle
from dataclasses import asdict

import torch

from data.errors import UserError
from utils.conventions import Conventions
from utils.recipes import Recipe
from utils.tensors import read_tensors


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
    if not is_ours(content):
        raise UserError(f"{path}: not a checkpoint of this program: no model, recipe and classes in it")
    return content


def is_ours(content):
    return {"model", "recipe", "classes"} <= set(content)


def read(path):
    """The dictionary in anybody's file of tensors. Nothing in it is executed."""
    before = path.with_name("previous.pth")
    hint = f"; the one before it: {before}" if path.name == "last.pth" and before.exists() else ""
    try:
        content = read_tensors(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint{hint}") from None
    except UserError as mistake:
        raise UserError(f"{path}: {mistake}") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: not a whole checkpoint ({str(error).splitlines()[0][:240]}){hint}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a checkpoint of this program, nor a dictionary of tensors")
    return content


def recipe_of(content):
    """The recipe of a checkpoint's content."""
    values = content["recipe"]
    return Recipe() | values | dict(conventions=Conventions(**values.get("conventions", {})))
