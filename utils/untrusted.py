"""Read a file that torch.save wrote, whoever wrote it: no code in it is run."""

import mmap
import pickle
import struct
import zipfile
import zlib

import torch

from data.text import UserError
from utils.pickles import PickleCheck, Placeholder

# What readers raise for a damaged or a hostile file.
UNREADABLE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, zlib.error, EOFError, ValueError,
    TypeError, LookupError, AttributeError, RuntimeError, OSError, AssertionError, OverflowError,
)  # fmt: skip
ZIP_START = b"PK\x03\x04"
# torch wrote no zip archives before release 1.6; its files began with this number.
LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


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
