"""Unpickle tensors, and run nothing: other objects become placeholders, or are refused by name."""

import math
import pickle
from collections import OrderedDict

import torch

from data.errors import UserError

# Packages whose objects are not built: a Placeholder stands for each.
PLACEHOLDERS = {
    "mmengine", "mmcv", "mmdet", "numpy", "datetime", "pathlib", "_codecs", "argparse", "typing",
    "retinanet", "model", "losses", "anchors", "utils", "dataloader", "torchvision", "torch.nn",
}  # fmt: skip
HARMLESS = {
    f"{module}.{name}"
    for module in ("builtins", "__builtin__", "collections", "copy_reg", "copyreg")
    for name in ("getattr", "set", "slice", "deque", "defaultdict", "object", "complex")
}
TYPES = {
    name: getattr(torch, dtype)
    for name, dtype in dict(
        FloatStorage="float32", DoubleStorage="float64", HalfStorage="float16",
        BFloat16Storage="bfloat16", LongStorage="int64", IntStorage="int32", ShortStorage="int16",
        CharStorage="int8", ByteStorage="uint8", BoolStorage="bool",
    ).items()
}  # fmt: skip


class Placeholder(dict):
    """Stands where an object was. It does nothing; what the object consisted of is its state."""

    def __new__(cls, *arguments, **named):
        return super().__new__(cls)

    def __init__(self, *arguments, **named):
        super().__init__()
        self.state = {}

    def __setstate__(self, state):
        self.state = state if isinstance(state, dict) else {}

    def append(self, value):
        pass

    extend = append


class StateDict(OrderedDict):
    """An OrderedDict whose attributes, as state_dict()'s _metadata, are left out."""

    def __setstate__(self, state):
        pass


class Rebuild:
    """A function that is handed to a file, and that the file cannot change."""

    __slots__ = ("function",)

    def __init__(self, function):
        object.__setattr__(self, "function", function)

    def __call__(self, *arguments):
        return self.function(*arguments)

    def __setattr__(self, name, value):
        raise pickle.UnpicklingError("it tries to change its reader")

    __setstate__ = None


class Storage:
    """The numbers of one or several tensors, in the file."""

    __slots__ = ("dtype", "numel", "tensor")

    def __init__(self, dtype, numel, tensor=None):
        self.dtype, self.numel, self.tensor = dtype, numel, tensor


def rebuild_tensor(storage, offset, size, stride, *rest):
    """The tensor of a storage, if it lies within it and is no larger than it."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor without numbers")
    if not all(type(value) is int and value >= 0 for value in numbers):
        raise pickle.UnpicklingError("a tensor of impossible size")
    if math.prod(size) > storage.numel:
        raise pickle.UnpicklingError("a tensor larger than its numbers")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride))
    if 0 not in size and last >= storage.numel:
        raise pickle.UnpicklingError("a tensor beyond its numbers")
    lazy = LazyTensor(storage, offset, tuple(size), tuple(stride))
    return lazy if storage.tensor is None else lazy.build()


class LazyTensor:
    """A tensor of a file that holds its numbers behind everything else."""

    __slots__ = ("storage", "offset", "size", "stride")

    def __init__(self, *parts):
        self.storage, self.offset, self.size, self.stride = parts

    def build(self):
        return self.storage.tensor.as_strided(self.size, self.stride, self.offset)


KNOWN = {
    "collections.OrderedDict": StateDict,
    "torch._utils._rebuild_tensor": Rebuild(rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": Rebuild(rebuild_tensor),
    "torch._utils._rebuild_parameter": Rebuild(lambda tensor, *rest: tensor),
    "torch.Size": Rebuild(lambda sizes=(): tuple(sizes)),
    "torch.device": Rebuild(lambda *name: "cpu"),
}


class Unpickler(pickle._Unpickler):
    """Python's own unpickler, which knows tensors and refuses by name what would be executed."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file, read_storage):
        super().__init__(file, encoding="utf-8")
        self.read_storage = read_storage

    def find_class(self, module, name):
        full_name = f"{module}.{name}"
        if full_name in KNOWN:
            return KNOWN[full_name]
        if module in ("torch", "torch.storage") and name in (*TYPES, "UntypedStorage"):
            return name
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return name
        packages = {module.split(".")[0], ".".join(module.split(".")[:2])}
        if packages & PLACEHOLDERS or full_name in HARMLESS:
            return Placeholder
        raise UserError(
            f"it holds {full_name[:80]}, which would have to be executed; only tensors are read: "
            "load it in the program that wrote it, and save model.state_dict()"
        )

    def persistent_load(self, parts):
        if not isinstance(parts, tuple) or not parts:
            raise pickle.UnpicklingError("an unknown reference")
        if parts[0] in ("module", b"module"):
            return Placeholder
        if parts[0] not in ("storage", b"storage") or parts[1] not in TYPES:
            raise pickle.UnpicklingError("an unknown reference")
        _, kind, key, _, numel, *_ = parts
        if type(numel) is not int or not 0 <= numel < 1 << 40:
            raise pickle.UnpicklingError("a tensor of impossible size")
        return self.read_storage(str(key), TYPES[kind], numel)

    def load_build(self):
        if not isinstance(self.stack[-2], (Placeholder, StateDict)):
            raise pickle.UnpicklingError("it tries to change its reader")
        super().load_build()

    def load_setitems(self):
        if not all(isinstance(key, (str, int, float, bytes)) for key in self.stack[::2]):
            raise pickle.UnpicklingError("a key that is no name")
        super().load_setitems()

    def load_setitem(self):
        if not isinstance(self.stack[-2], (str, int, float, bytes)):
            raise pickle.UnpicklingError("a key that is no name")
        super().load_setitem()

    def refuse(self):
        raise pickle.UnpicklingError("not a file of tensors")

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.SETITEM[0]] = load_setitem
    for opcode in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET):
        dispatch[opcode[0]] = refuse
