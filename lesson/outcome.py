"""What a call led to: how two outcomes differ, and how values are shown to a learner."""

import numpy as np
import torch
from torch import nn

KINDS = dict(b="bool", i="whole numbers", u="bytes", f="floats")
MOST_VALUES = 32  # of an array that is shown whole


def compare(expected, got, place=""):
    """The first difference of two values in words, or "" if they are the same.

    Two errors are the same, whatever they say, and so are floats that are nearly equal.
    """
    errors = isinstance(expected, BaseException), isinstance(got, BaseException)
    if any(errors):
        return "" if all(errors) else "one of the two is an error"
    if type_words(expected) != type_words(got):
        return f"{place} should be {type_words(expected)}, but is {type_words(got)}"
    expected, got = contents(expected), contents(got)
    if isinstance(expected, dict):
        if expected.keys() != got.keys():
            return f"{place} should have the keys {list(expected)}, but has {list(got)}"
        names = {key: f"{place}[{key!r}]" if place else key for key in expected}
        return first_of(compare(expected[key], got[key], names[key]) for key in expected)
    if isinstance(expected, (list, tuple)):
        if len(expected) != len(got):
            return f"{place} should have {len(expected)} elements, but has {len(got)}"
        pairs = enumerate(zip(expected, got))
        return first_of(compare(*pair, part_of(place, [i])) for i, pair in pairs)
    if isinstance(expected, np.ndarray):
        return array_difference(expected, got, place)
    return "" if expected == got else f"{place} should be {expected!r}, but is {got!r}"


def array_difference(expected, got, place):
    """The difference of two arrays of one kind in words."""
    if expected.shape != got.shape:
        return f"{place} should have the shape {list(expected.shape)}, but has {list(got.shape)}"
    is_same = np.isclose(got, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    if is_same.all():
        return ""
    if expected.size > MOST_VALUES:
        index = tuple(int(i) for i in np.argwhere(~is_same)[0])
        place, expected, got = part_of(place, list(index)), expected[index], got[index]
    return f"{place} should be {describe(expected)}, but is {describe(got)}"


def part_of(place, index):
    """A part of a value in words: of "the result" it is "result[0, 1]"."""
    return f"{place.removeprefix('the ')}{index}"


def first_of(lines):
    """The first line that is not empty, or an empty one."""
    return next((line for line in lines if line), "")


def contents(value):
    """What of a value is compared: of tensors and numbers an array, of a network its weights, of an
    optimizer its settings."""
    if isinstance(value, nn.Module):
        return dict(value.state_dict())
    if hasattr(value, "param_groups"):
        groups = value.param_groups
        return [{key: group[key] for key in group if key != "params"} for group in groups]
    if torch.is_tensor(value):
        return value.detach().numpy()
    return np.asarray(value) if is_number(value) else value


def is_number(value):
    """Whether it is a single number, Python's or NumPy's, and neither True nor False."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def type_words(value):
    """What kind of thing a value is; all whole numbers are of one kind, and so are all floats."""
    if is_number(value):
        return "a number"
    if isinstance(value, (bool, np.bool_)):
        return "True or False"
    if torch.is_tensor(value) or isinstance(value, np.ndarray):
        dtype = contents(value).dtype
        word = "a tensor" if torch.is_tensor(value) else "an array"
        return f"{word} of {KINDS.get(dtype.kind, dtype)}"
    return "None" if value is None else f"a {type(value).__name__}"


def describe(value):
    """A value for a learner to read: short, and its floats rounded to four digits."""
    if callable(value) or hasattr(value, "param_groups"):
        return getattr(value, "__name__", type(value).__name__)
    words, value = type_words(value), contents(value)
    if isinstance(value, np.ndarray) and value.size > MOST_VALUES:
        return f"{words} {list(value.shape)}"
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {describe(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(describe, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else repr(value)
