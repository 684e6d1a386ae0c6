"""Read the tensors out of a file that torch.save wrote, and run nothing that it brings along.

torch.load is asked first, in its safe mode. What it refuses, files that hold other programs'
objects beside the tensors, is read here: the objects become placeholders, and everything else is
an error.
"""

import io
import pickle
import struct
import zipfile
import zlib

import torch

from utils.unpickle import LazyTensor, Placeholder, Storage, Unpickler

# What a damaged or a hostile file makes of a reader: it is no file of tensors, whatever it is.
UNREADABLE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, zlib.error, EOFError, ValueError,
    TypeError, KeyError, IndexError, AttributeError, RuntimeError, NotImplementedError, OSError,
    AssertionError, MemoryError, OverflowError, RecursionError, ImportError,
)  # fmt: skip
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def read_tensors(path):
    """What torch.save was given, tensors on the CPU; OSError or one of UNREADABLE where it
    fails."""
    with open(path, "rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            # torch does not look at the checksums.
            damaged = archive.testzip()
            if damaged:
                raise zipfile.BadZipFile(f"{damaged} is damaged")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE:
        return read_zip(path) if is_zip else read_legacy(path)


def read_zip(path):
    """The content of a file as torch writes it since 2020: an archive with a file per storage."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        folder, storages = name.removesuffix("data.pkl"), {}

        def read_storage(key, dtype, numel):
            if key not in storages:
                info = archive.getinfo(f"{folder}data/{key}")
                if numel * dtype.itemsize > info.file_size or info.compress_type:
                    raise pickle.UnpicklingError("a tensor larger than its numbers")
                data = bytearray(archive.read(info))
                storages[key] = Storage(dtype, numel, as_tensor(data, dtype, numel))
            return storages[key]

        return Unpickler(io.BytesIO(archive.read(name)), read_storage).load()


def as_tensor(data, dtype, numel):
    if numel == 0:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=numel)


def read_legacy(path):
    """The content of a file as torch wrote it until 2020: pickles, then the numbers in a row."""
    storages = {}
    with open(path, "rb") as file:
        file_size = file.seek(0, io.SEEK_END)
        file.seek(0)

        def read_storage(key, dtype, numel):
            if numel * dtype.itemsize > file_size:
                raise pickle.UnpicklingError("a tensor larger than its file")
            return storages.setdefault(key, Storage(dtype, numel))

        def load():
            return Unpickler(file, read_storage).load()

        if load() != LEGACY_MAGIC:
            raise pickle.UnpicklingError("not a file of tensors")
        load(), load()  # the version, and facts about the machine
        content, keys = load(), load()
        for key in keys:
            storage = storages[str(key)]
            (numel,) = struct.unpack("<q", file.read(8))
            data = bytearray(file.read(storage.numel * storage.dtype.itemsize))
            if numel != storage.numel or len(data) < storage.numel * storage.dtype.itemsize:
                raise EOFError("it ends too early")
            storage.tensor = as_tensor(data, storage.dtype, numel)
    return build_tensors(content, {})


def build_tensors(value, seen):
    """The same content, with the tensors in it that had to wait for their numbers."""
    if isinstance(value, LazyTensor):
        return value.build()
    if id(value) in seen or not isinstance(value, (dict, list, tuple)):
        return value
    seen[id(value)] = value
    if isinstance(value, Placeholder):
        build_tensors(value.state, seen)
    elif isinstance(value, dict):
        for key in value:
            value[key] = build_tensors(value[key], seen)
    elif isinstance(value, list):
        value[:] = [build_tensors(item, seen) for item in value]
    else:
        return tuple(build_tensors(item, seen) for item in value)
    return value


def state_dict_of(module, prefix="", depth=0):
    """The state dict of a whole module that was pickled: a Placeholder with its parts as state."""
    state = {}
    parts = module.state
    for group in ("_parameters", "_buffers"):
        for name, value in (parts.get(group) or {}).items():
            if isinstance(value, torch.Tensor):
                state[f"{prefix}{name}"] = value
    for name, child in (parts.get("_modules") or {}).items() if depth < 30 else ():
        if isinstance(child, Placeholder):
            state |= state_dict_of(child, f"{prefix}{name}.", depth + 1)
    return state
