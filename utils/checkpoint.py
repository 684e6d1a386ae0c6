"""Checkpoints: a model's weights, recipe and classes, and the state of its training, in a file."""

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
from utils.build import Conventions, build_detector, check_conventions
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
    """Write a checkpoint under a temporary name, then rename it: path never holds half of one.

    content may have tensors and plain values only, so that it can be loaded without running any
    code. Raises OSError if it cannot be written.
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
        number = getattr(error, "errno", None)
        reason = getattr(error, "strerror", None)
        if "unexpected pos" in str(error):
            # These are torch's words for a disk that took only a part of what was written.
            number = errno.ENOSPC
            reason = os.strerror(errno.ENOSPC)
        raise OSError(number, reason or str(error).splitlines()[0]) from None


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
    """The content of a file that torch.save wrote, with its tensors on the CPU.

    torch builds tensors and plain values only, and stand-ins for the objects of other programs. A
    file that would keep even torch busy forever, or fill the memory, is refused before.
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
        # torch.save never compresses, and a small archive can be unpacked to a huge one.
        is_compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if is_compressed or len(sizes) < len(entries) or sum(sizes.values()) > file_size:
            raise pickle.UnpicklingError("it is compressed, which torch.save never does")
        # torch does not compare the checksums.
        damaged = archive.testzip()
        if damaged:
            raise pickle.UnpicklingError(f"{damaged} is damaged")
    check = PickleCheck(file_size)
    # It is torch's reader of archives that finds the pickle: what is checked is what is loaded.
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
    """The same content in plain dictionaries: a file can set attributes of an OrderedDict."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in dict.items(value)}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    if isinstance(value, Placeholder):
        value.state = plain(value.state)
    return value


def state_dict_of(module, prefix=""):
    """The state dict of a whole module that was pickled and is read as a Placeholder."""
    state = {}
    for group in ("_parameters", "_buffers", "_modules"):
        parts = module.state.get(group)
        for name, part in parts.items() if isinstance(parts, dict) else ():
            if isinstance(part, torch.Tensor):
                state[f"{prefix}{name}"] = part
            elif isinstance(part, Placeholder):
                state |= state_dict_of(part, f"{prefix}{name}.")
    return state


def recipe_of(content, path=""):
    """The recipe in a checkpoint's content."""
    values = dict(content["recipe"])
    conventions = values.pop("conventions", {})
    if not isinstance(conventions, dict):
        raise UserError(f"{path}: its conventions are not a dictionary")
    known = {field.name for field in fields(Recipe)}
    known_conventions = {field.name for field in fields(Conventions)}
    unknown = sorted(set(values) - known | set(conventions) - known_conventions)
    if unknown:
        raise UserError(f"{path}: its recipe has fields that are not known here: {unknown[0]}")
    conventions = Conventions(**conventions)
    check_conventions(conventions, path)
    return checked(Recipe(**values, conventions=conventions), path)


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
    check_shapes(content, recipe, path)
    model, _ = build_detector(recipe, len(classes))
    model.load_state_dict(content["model"])
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{path}: {name} holds numbers that are not finite")
    threshold = content.get("show_threshold")
    if threshold is not None and not (type(threshold) in (int, float) and 0 <= threshold <= 1):
        raise UserError(f"{path}: show_threshold {str(threshold)[:60]!r} is not a score")
    model.to(memory_format=torch.channels_last).eval()
    return LoadedDetector(model, recipe, classes, content.get("iteration"), threshold)


def check_shapes(content, recipe, path):
    """Raise an error if a checkpoint's tensors are not those of its detector.

    The detector is built on the meta device, where a recipe of any size takes no memory.
    """
    if not content["classes"]:
        raise UserError(f"{path}: it has no classes")
    with torch.device("meta"):
        model, _ = build_detector(recipe, len(content["classes"]))
    expected = shapes_of(model.state_dict())
    found = shapes_of(content["model"])
    for name in expected | found:
        shape = found.get(name, "absent")
        expected_shape = expected.get(name, "absent")
        if shape != expected_shape:
            raise UserError(
                f"{path}: other tensors than its detector's: {name} is {shape}, not "
                f"{expected_shape}"
            )


def shapes_of(state):
    return {name: tuple(value.shape) for name, value in state.items()}
