"""Checkpoints: a model's weights, recipe and classes, and the state of its training, in a file."""

import errno
import os
import re
import shlex
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import NamedTuple

import torch

from data.text import MissingFile, UserError, file_errors
from utils.build import build_detector
from utils.files import replace_file
from utils.recipe import Recipe, checked
from utils.stop import is_out_of_memory


def save(path, content):
    """Write a checkpoint under a temporary name, then rename it: path never holds half of one.

    content may have tensors and plain values only, so that it can be loaded without running any
    code. Raises OSError if it cannot be written.
    """
    try:
        replace_file(path, lambda file: torch.save(content, file))
    except RuntimeError as error:
        if "unexpected pos" in str(error):
            # These are torch's words for a disk that took only a part of what was written.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise OSError(None, str(error).splitlines()[0]) from None


def detector_content(model, recipe, classes, iteration=0):
    """What a checkpoint needs for its model to be used, and the iterations it was trained for."""
    return dict(
        model=model.state_dict(),
        recipe=asdict(recipe),
        classes=list(classes),
        iteration=iteration,
    )


def load(path):
    """The content of a checkpoint of this program, with its tensors on the CPU."""
    content = read(path)
    if not is_ours(content):
        raise UserError(
            f"{path}: not a checkpoint of this program: it has no model, recipe and classes"
        )
    return content


def load_training(path):
    """The content of a last.pth, with all that is needed to go on with its training."""
    content = load(path)
    if "optimizer" not in content:
        raise UserError("this checkpoint holds no optimizer to go on with: resume from last.pth")
    kinds = dict(iteration=int, best=float, stale=int, random=torch.Tensor, plateau=dict)
    kinds |= dict(largest_step=float)
    for name, kind in kinds.items():
        value = content.get(name)
        is_number = kind in (int, float)
        if not isinstance(value, kind) or is_number and not -1 <= value < 1 << 60:
            raise UserError(f"{path}: {name} {str(value)[:60]!r} is not what a run saves")
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
    """The dictionary in a checkpoint, of this program or another; no code in it is run.

    If path is a folder, its best.pth is read.
    """
    # Imported here, for a run from random weights reads no file of others.
    from utils.untrusted import UNREADABLE, read_tensors

    hint = ""
    with file_errors(path):
        if path.is_dir():
            path = path / "best.pth"
        before = path.with_name("previous.pth")
        if path.name == "last.pth" and before.exists():
            hint = f"; the checkpoint before it: --resume {shlex.quote(str(before))}"
        if not path.is_file():
            if path.name == "best.pth" and path.with_name("last.pth").exists():
                hint = "; no evaluation has saved one, but there is a last.pth"
            raise MissingFile(f"{path}: no such checkpoint{hint}")
        # A file that may not be read would be called damaged below.
        open(path, "rb").close()
    try:
        content = read_tensors(path)
    except UserError as mistake:
        raise UserError(f"{path}: {mistake}") from None
    except UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: not a whole checkpoint ({reason}){hint}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path}: not a checkpoint of this program, nor a dictionary of tensors")
    return content


def recipe_of(content, path=""):
    """The recipe in a checkpoint's content."""
    values = content["recipe"]
    unknown = sorted(set(values) - {field.name for field in fields(Recipe)})
    if unknown:
        raise UserError(f"{path}: its recipe has fields that are not known here: {unknown[0]}")
    return checked(Recipe(**values), path)


class LoadedDetector(NamedTuple):
    """A detector that is ready to predict."""

    model: torch.nn.Module
    recipe: Recipe
    classes: list
    iteration: int  # how many it was trained for; None if unknown
    show_threshold: float  # the score with the best F1 on its validation images, or None


def build_model(content, path=""):
    """The LoadedDetector of a checkpoint's content."""
    recipe = recipe_of(content, path)
    classes = content["classes"]
    if not classes:
        raise UserError(f"{path}: it has no classes")
    # On the meta device, a network of any size takes no memory.
    with torch.device("meta"):
        expected, _ = build_detector(recipe, len(classes))
    with mismatch_is_an_error(f"{path}: other tensors than its detector's"):
        expected.load_state_dict(content["model"], assign=True)
    model, _ = build_detector(recipe, len(classes))
    model.load_state_dict(content["model"])
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{path}: {name} holds numbers that are not finite")
    model.to(memory_format=torch.channels_last).eval()
    return LoadedDetector(model, recipe, classes, *facts_of(content, path))


def facts_of(content, path):
    """The iteration and the threshold in a detector's file, if they are what they should be."""
    iteration = content.get("iteration")
    if iteration is not None and not (type(iteration) is int and 0 <= iteration < 1 << 60):
        raise UserError(f"{path}: iteration {str(iteration)[:60]!r} is not a number of iterations")
    threshold = content.get("show_threshold")
    if threshold is not None and not (type(threshold) in (int, float) and 0 <= threshold <= 1):
        raise UserError(f"{path}: show_threshold {str(threshold)[:60]!r} is not a score")
    return iteration, threshold


@contextmanager
def mismatch_is_an_error(message):
    """Where the state in a file does not fit what it is loaded into, that is a UserError, which
    begins with the message."""
    try:
        yield
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())
        reason = re.sub(r"^Error\(s\) in loading state_dict for \w+: ", "", reason)
        raise UserError(f"{message}: {reason[:200]}") from None


def load_optimizer(optimizer, state):
    """Load the state of an optimizer, whose settings stay its own. Raises ValueError if it does not
    fit.

    Each tensor gets its parameter's order in memory, which a fused step relies on: it would give
    one weight the momentum of another where a run on a GPU, in channels last, goes on on a CPU.
    With a tensor of another shape it would crash the process.
    """
    groups = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in state["param_groups"]] != [g["params"] for g in groups]:
        raise ValueError("its optimizer has other parameters")
    is_sgd = isinstance(optimizer, torch.optim.SGD)
    names = {"momentum_buffer"} if is_sgd else {"step", "exp_avg", "exp_avg_sq"}
    # Where the file has no momentum yet, the zeros of the new optimizer stay.
    loaded = {number: values for number, values in state["state"].items() if values}
    states = optimizer.state_dict()["state"] | loaded
    optimizer.load_state_dict(dict(state=states, param_groups=groups))
    for parameter, values in optimizer.state.items():
        if values and not names <= values.keys():
            raise ValueError(f"its optimizer lacks {', '.join(names - values.keys())}")
        for name, value in values.items():
            expected = () if name == "step" else tuple(parameter.shape)
            if tuple(value.shape) != expected:
                found = tuple(value.shape)
                raise ValueError(f"its optimizer has {name} of {found}, not {expected}")
            if name != "step":
                values[name] = torch.empty_like(parameter).copy_(value)
