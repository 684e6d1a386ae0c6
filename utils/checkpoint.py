"""Checkpoints: one file holds the weights, the recipe and classes that made them, and the state of
the training."""

import errno
import mmap
import os
import pickle
import struct
import zipfile
import zlib
from dataclasses import asdict, fields
from typing import NamedTuple

import torch

from data.text import UserError
from utils.build import Conventions, build_detector
from utils.pickles import PickleCheck, Placeholder
from utils.recipe import Recipe, checked

# What readers raise for a damaged or a hostile file.
UNREADABLE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, zlib.error, EOFError, ValueError,
    TypeError, LookupError, AttributeError, RuntimeError, OSError, AssertionError, OverflowError,
)  # fmt: skip
ZIP_START = b"PK\x03\x04"
# torch wrote no zip archives before release 1.6; its files began with this number.
LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


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
    if path.is_dir():
        path = path / "best.pth"
    hint = ""
    before = path.with_name("previous.pth")
    if path.name == "last.pth" and before.exists():
        hint = f"; the checkpoint before it: --resume {before}"
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint{hint}")
    try:
        content = read_tensors(path)
    except UserError as mistake:
        raise UserError(f"{path}: {mistake}") from None
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: not a whole checkpoint ({reason}){hint}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path}: not a checkpoint of this program, nor a dictionary of tensors")
    return content


def read_tensors(path):
    """What torch.save was given; tensors on the CPU, stand-ins for objects of other programs.

    torch's own reader builds tensors and plain values only. Files that would keep even that reader
    busy for ever are refused before it sees them.
    """
    with open(path, "rb") as file:
        start = file.read(len(LEGACY_START))
    if start.startswith(ZIP_START):
        check = check_archive(path)
    elif start == LEGACY_START:
        check = check_legacy_file(path)
    else:
        raise pickle.UnpicklingError("torch.save did not write it")
    with torch.serialization.safe_globals(check.stand_ins()):
        content = plain(torch.load(path, map_location="cpu", weights_only=True))
    return state_dict_of(content) if isinstance(content, Placeholder) else content


def check_archive(path):
    """The PickleCheck of a zip archive, in which each storage is a file of its own."""
    file_size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        sizes = {entry.filename.partition("/")[2]: entry.file_size for entry in entries}
        if "constants.pkl" in sizes:
            raise UserError("it is a TorchScript program: save model.state_dict() instead")
        # torch stores everything once and as it is. A small file could be unpacked to a huge one.
        is_compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if is_compressed or len(sizes) < len(entries) or sum(sizes.values()) > file_size:
            raise pickle.UnpicklingError("it is compressed, which torch.save never does")
        # torch does not look at the checksums.
        damaged = archive.testzip()
        if damaged:
            raise pickle.UnpicklingError(f"{damaged} is damaged")
    check = PickleCheck(file_size)
    # This is read by torch, so that what is checked is what will be loaded.
    check.check(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl"))
    for key, (number_size, count) in check.storages.items():
        if sizes.get(f"data/{key}") != number_size * count:
            raise pickle.UnpicklingError(f"the storage {key} is of another size than it says")
    return check


def check_legacy_file(path):
    """The PickleCheck of a file from before torch 1.6: five pickles, then all storages in a row."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        check = PickleCheck(len(content))
        for _ in ("number", "version", "facts about the machine", "content", "storages"):
            check.check(content)
        needed = sum(number_size * count for number_size, count in check.storages.values())
        if needed > len(content) - content.tell():
            raise pickle.UnpicklingError("it ends too early")
    return check


def plain(value):
    """The same content in dictionaries that have no attributes, which a file could set."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in dict.items(value)}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    if isinstance(value, Placeholder):
        value.state = plain(value.state)
    return value


def state_dict_of(module, prefix=""):
    """The state dict of a whole module that was pickled: a Placeholder with its parts as state."""
    state = {}
    for group in ("_parameters", "_buffers", "_modules"):
        parts = module.state.get(group)
        for name, part in parts.items() if isinstance(parts, dict) else ():
            if isinstance(part, torch.Tensor):
                state[f"{prefix}{name}"] = part
            elif isinstance(part, Placeholder):
                state |= state_dict_of(part, f"{prefix}{name}.")
    return state


def optimizer_state(optimizer, state):
    """A checkpoint's state of an optimizer, for load_state_dict; ValueError if it is another's.

    The settings are the optimizer's own. Each tensor is laid out in memory as its parameter, for
    a fused step trusts in that: given another shape it would write beyond the tensor; given
    another order, such as a GPU's channels last, it would take one weight's number for another's.
    """
    groups = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in state["param_groups"]] != [g["params"] for g in groups]:
        raise ValueError("its optimizer has other parameters")
    is_sgd = isinstance(optimizer, torch.optim.SGD)
    names = {"momentum_buffer"} if is_sgd else {"step", "exp_avg", "exp_avg_sq"}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states = {}
    for i, parameter in enumerate(parameters):
        values = state["state"].get(i)
        if not values:
            continue
        if not names <= values.keys():
            raise ValueError(f"its optimizer lacks {', '.join(names - values.keys())}")
        states[i] = {name: like_parameter(values[name], name, parameter) for name in names}
    return dict(state=states, param_groups=groups)


def like_parameter(value, name, parameter):
    """A tensor of an optimizer's state, in memory as the parameter that it is of."""
    shape = () if name == "step" else tuple(parameter.shape)
    if tuple(value.shape) != shape:
        raise ValueError(f"its optimizer has {name} of {tuple(value.shape)}, not {shape}")
    return value if name == "step" else torch.empty_like(parameter, device="cpu").copy_(value)


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
