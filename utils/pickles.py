"""Check the pickle in a checkpoint before anything in it is built.

A pickle is a small program that builds objects. PickleCheck follows it opcode by opcode and only
notes how large and how deeply nested the objects would become. It refuses a pickle that would run
code, never end, or fill the memory.
"""

import math
import pickle
import pickletools
from collections import OrderedDict

import torch

from data.text import UserError

# A detector's pickle has about 20 opcodes for each tensor, and objects nested up to 30 deep.
MAX_OPCODES = 200_000
MAX_DEPTH = 100
MAX_DIMENSIONS = 16
MAX_FOREIGN_NAMES = 100
MAX_FOREIGN_USES = 20_000  # at each of them, torch looks through all names

# The types of storages, which hold the numbers of tensors, and the bytes of a number in each.
NUMBER_SIZES = dict(
    Double=8, Float=4, Half=2, BFloat16=2, Long=8, Int=4, Short=2, Char=1, Byte=1, Bool=1
)
STORAGES = {f"torch.{name}Storage": size for name, size in NUMBER_SIZES.items()}
# The functions that a pickle may call, and the kind of item that each returns.
CALLABLE = {
    "torch._utils._rebuild_tensor": "tensor",
    "torch._utils._rebuild_tensor_v2": "tensor",
    "torch._utils._rebuild_parameter": "parameter",
    "torch.Size": "size",
    "torch.device": "device",
    "collections.OrderedDict": "dict",
    "collections.Counter": "dict",
    "builtins.set": "set",
    "_codecs.encode": "bytes",
}
# Other programs' modules and classes. Their objects are not built: a stand-in of this kind is.
FOREIGN = {"collections.deque": "list", "collections.defaultdict": "dict"} | dict.fromkeys(
    (
        "mmengine", "mmcv", "mmdet", "numpy", "datetime", "pathlib", "argparse", "typing",
        "retinanet", "model", "losses", "anchors", "utils", "dataloader", "torchvision",
        "torch.nn.modules", "torch.nn.parallel",
        "builtins.getattr", "builtins.slice", "builtins.object", "builtins.list", "builtins.dict",
        "builtins.int", "builtins.float",
    ),
    "object",
)  # fmt: skip
# Pickles of protocol 2 call some modules by the names that they had in Python 2.
PYTHON_2_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}

# Opcodes that put a value, or an empty container, on the stack.
VALUES = {
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINSTRING",
}  # fmt: skip
EMPTY = {"EMPTY_TUPLE": "tuple", "EMPTY_LIST": "list", "EMPTY_DICT": "dict"}
# Opcodes that take so many items from the stack; None stands for all since the last mark.
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "TUPLE": None}
FILLS = {"APPEND": 1, "APPENDS": None, "SETITEM": 2, "SETITEMS": None, "BUILD": 1}


class Item:
    """Something on a pickle's stack: its kind, its value if that matters, and its size."""

    def __init__(self, kind, value=None, items=(), size=1):
        self.kind = kind
        self.value = value
        self.size = size  # in objects, characters and bytes of tensors, contents included
        self.depth = 0
        self.is_used = False
        self.add(items)

    def add(self, items):
        """Put other items into this one."""
        # An item that is in another one is complete, unless it ends up in itself.
        if self.is_used:
            raise pickle.UnpicklingError("it has an object that holds itself")
        for item in items:
            item.is_used = True
            self.size += item.size
            self.depth = max(self.depth, item.depth + 1)
        if self.depth > MAX_DEPTH:
            raise pickle.UnpicklingError(f"its objects are nested more than {MAX_DEPTH} deep")


class PickleCheck:
    """What a file's pickles ask for: storages, and objects of other programs.

    storages: key -> (bytes of a number, count of numbers).
    foreign: name of another program's class or function -> kind of its stand-in.
    """

    def __init__(self, file_size):
        self.storages = {}
        self.foreign = {}
        self.foreign_uses = 0
        # An item counts wherever it is used, since a few shared items can unfold to billions.
        self.budget = 1_000_000 + 10 * file_size

    def check(self, pickled):
        """Follow a pickle, which is bytes or a file; raise an error if it is to be refused."""
        self.stack = []
        self.marks = []
        self.memo = {}
        for count, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if count > MAX_OPCODES:
                raise pickle.UnpicklingError(f"it has more than {MAX_OPCODES} opcodes")
            self.follow(opcode.name, argument)

    def stand_ins(self):
        """A pair (stand-in, name) for each foreign name, as torch's safe_globals takes them."""
        return [(STAND_INS[kind], name) for name, kind in self.foreign.items()]

    def follow(self, name, argument):
        """Do to the stack what an opcode does."""
        if name in VALUES:
            length = len(argument) if isinstance(argument, str) else 0
            self.stack.append(Item("value", argument, size=1 + length))
        elif name in EMPTY:
            self.stack.append(Item(EMPTY[name], value=[]))
        elif name in TUPLES:
            items = self.take(TUPLES[name])
            self.stack.append(Item("tuple", items, items))
        elif name in FILLS:
            items = self.take(FILLS[name])
            self.fill(self.stack[-1], name, items)
        elif name == "MARK":
            self.marks.append(self.stack)
            self.stack = []
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            item = self.memo.get(argument)
            if item is None:
                raise pickle.UnpicklingError("it refers to an object before it is built")
            item.is_used = True
            self.spend(item.size)
            self.stack.append(item)
        elif name == "GLOBAL":
            self.stack.append(Item("function", self.function_name(argument)))
        elif name in ("REDUCE", "NEWOBJ"):
            function, arguments = self.take(2)
            self.stack.append(self.call(function, arguments))
        elif name == "BINPERSID":
            (reference,) = self.take(1)
            self.stack.append(self.storage([item.value for item in reference.value]))
        elif name == "PROTO" and argument != 2:
            raise pickle.UnpicklingError(f"its pickle protocol is {argument}; torch.save writes 2")
        elif name not in ("PROTO", "STOP"):
            raise pickle.UnpicklingError(f"it has the opcode {name}, which torch.save never writes")

    def take(self, count):
        """Remove the last items from the stack and return them."""
        if count is not None:
            return [self.stack.pop() for _ in range(count)][::-1]
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def spend(self, size):
        self.budget -= size
        if self.budget < 0:
            raise pickle.UnpicklingError("it unfolds to much more than its size")

    def fill(self, item, opcode, items):
        """Put items into a list or a dictionary, or a state into an object."""
        needed = dict(APPEND="list", SETITEM="dict").get(opcode.removesuffix("S"), "object")
        if opcode == "BUILD" and item.kind == "dict":
            # The state of an OrderedDict is a dictionary of its attributes.
            needed = items[0].kind
        if item.kind != needed:
            raise pickle.UnpicklingError(f"it has the opcode {opcode} for a {item.kind}")
        if opcode in ("SETITEM", "SETITEMS"):
            check_keys(items[::2])
        if item.kind == "object":
            self.use_foreign()
        item.add(items)
        if item.kind == "list":
            item.value += items

    def function_name(self, argument):
        """The full name of a function or a class, if it may be used."""
        module, _, name = argument.partition(" ")
        full_name = f"{PYTHON_2_NAMES.get(module, module)}.{name}"
        is_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_type or full_name in CALLABLE or full_name in STORAGES:
            return full_name
        for package, kind in FOREIGN.items():
            if f"{full_name}.".startswith(f"{package}."):
                self.foreign[full_name] = kind
                self.use_foreign()
                return full_name
        raise UserError(
            f"it holds {full_name[:80]}, which would have to be executed; only tensors are read: "
            "load it in the program that wrote it, and save model.state_dict()"
        )

    def use_foreign(self):
        self.foreign_uses += 1
        if len(self.foreign) > MAX_FOREIGN_NAMES or self.foreign_uses > MAX_FOREIGN_USES:
            raise pickle.UnpicklingError("it has too many objects of other programs")

    def call(self, function, arguments):
        """The item that a call returns, if the function may be called in this way."""
        if function.kind != "function" or arguments.kind != "tuple":
            raise pickle.UnpicklingError("it calls something that is not a function")
        name = function.value
        values = arguments.value
        if name in self.foreign:
            self.use_foreign()
            return Item(self.foreign[name], [], [arguments])
        kind = CALLABLE[name]
        if kind == "tensor":
            number_of_bytes = tensor_bytes(*values[:4])
            self.spend(number_of_bytes)
            return Item("tensor", None, [arguments], size=1 + number_of_bytes)
        if name == "collections.OrderedDict" and values:
            # Python 2 pickled it as a list of pairs.
            check_keys([pair.value[0] for pair in values[0].value])
        elif name == "collections.Counter" and values and values[0].kind != "dict":
            raise pickle.UnpicklingError("it counts something other than a dictionary")
        elif name == "builtins.set":
            check_keys(values[0].value)
        elif name == "_codecs.encode" and values[1].value != "latin1":
            raise pickle.UnpicklingError("it uses an encoding other than latin1")
        return Item(kind, [], [arguments])

    def storage(self, values):
        """The item of a storage, from the values that describe it."""
        if values[0] == "module":
            raise UserError(
                "it is a whole module as torch saved it before release 1.6 (2020); only tensors "
                "are read: load it in the program that wrote it, and save model.state_dict()"
            )
        kind, storage_type, key, _, count, *view = values
        if kind != "storage" or type(count) is not int or count < 0:
            raise pickle.UnpicklingError("it refers to something other than a storage")
        size = STORAGES[storage_type]
        if self.storages.setdefault(key, (size, count)) != (size, count):
            raise pickle.UnpicklingError(f"it has the storage {key} in two sizes")
        return Item("storage", (size, count))


def check_keys(items):
    """Raise an error unless the keys of a dictionary or a set are strings and small numbers.

    To hash nested tuples, or large numbers that were chosen to collide, can take forever.
    """
    for item in items:
        is_number = type(item.value) in (int, float) and abs(item.value) < 1 << 53
        if item.kind != "value" or not (is_number or isinstance(item.value, str)):
            raise pickle.UnpicklingError("it has a key that is neither a string nor a small number")


def tensor_bytes(storage, offset, size, stride):
    """The size of a tensor in bytes, from the items that describe it."""
    if (storage.kind, size.kind, stride.kind) != ("storage", "tuple", "tuple"):
        raise pickle.UnpicklingError("it has a tensor without numbers")
    sizes = [item.value for item in size.value]
    strides = [item.value for item in stride.value]
    if len(sizes) != len(strides) or len(sizes) > MAX_DIMENSIONS:
        raise pickle.UnpicklingError(f"it has a tensor of {len(sizes)} dimensions")
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in (offset.value, *sizes, *strides)):
        raise pickle.UnpicklingError("it has a tensor of impossible size")
    number_size, count = storage.value
    last = offset.value + sum((length - 1) * step for length, step in zip(sizes, strides))
    if math.prod(sizes) > count or (0 not in sizes and last >= count):
        raise pickle.UnpicklingError("it has a tensor larger than its storage")
    return math.prod(sizes) * number_size


class Placeholder:
    """Stands for an object of another program: it keeps the object's state and does nothing."""

    def __new__(cls, *arguments):
        self = super().__new__(cls)
        self.state = {}
        return self

    def __init__(self, *arguments):
        pass

    def __setstate__(self, state):
        self.state = state if isinstance(state, dict) else {}


STAND_INS = {
    "object": Placeholder,
    "dict": lambda *arguments: OrderedDict(),
    "list": lambda *arguments: [],
}
