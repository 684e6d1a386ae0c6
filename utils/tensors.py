"""Read the tensors out of anybody's file, and run nothing that it brings along."""
import pickle
import sys

import torch

from data.errors import UserError

# What tensors are rebuilt with.
NEEDED = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.Size",
          "torch.device", "torch.float16", "torch.float32", "torch.bfloat16"}
# MMDetection's files also tell how their training went, in objects of these packages. They are not built.
FOREIGN = {"mmengine", "mmcv", "mmdet", "numpy", "datetime", "pathlib", "_codecs"}
HARMLESS = {f"{module}.{name}" for module in ("builtins", "__builtin__", "collections")
            for name in ("getattr", "set", "slice", "deque")}


class Unbuilt(dict):
    """Stands where an object was that nobody needs: whatever is asked of it, it does nothing."""

    def __new__(cls, *arguments, **named):
        return super().__new__(cls)

    def __init__(self, *arguments, **named):
        super().__init__()

    def __setstate__(self, state):
        pass

    def append(self, value):
        pass

    extend = append


class Unpickler(pickle.Unpickler):
    """It knows tensors, and refuses by name what would have to be executed."""

    def find_class(self, module, name):
        if f"{module}.{name}" in NEEDED:
            return super().find_class(module, name)
        if module.split(".")[0] in FOREIGN or f"{module}.{name}" in HARMLESS:
            return Unbuilt
        raise UserError(f"it holds {module}.{name}, which would have to be executed; only tensors are read: load it in "
                        "the program that wrote it, and save model.state_dict()")


def load(file, **options):
    return Unpickler(file, **options).load()


def read_tensors(path):
    """What torch.load returns, tensors on the CPU."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # Of this module, torch takes Unpickler and load in place of pickle's.
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=sys.modules[__name__])
