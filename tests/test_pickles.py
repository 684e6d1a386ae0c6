"""Files that would keep their reader busy for ever, fill the memory or crash it are refused."""

import argparse
import codecs
import io
import os
import pickle
import struct
import zipfile

import pytest
import torch

from data.text import UserError
from tests import scripts
from utils.checkpoint import read
from utils.pickles import PickleCheck

MODULE = b"ctorch.nn.modules.module\nModule\n)\x81"
HOLD_TWICE = b"}X\x08\x00\x00\x00_modules}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00usb"


class Call:
    """What is pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments

    def __reduce__(self):
        return self.function, self.arguments


def tensor(count, size, stride=(1,), extra=()):
    """What is pickled as a tensor of a storage of so many numbers."""
    storage = ("storage", torch.FloatStorage, "0", "cpu", count, *extra)
    return Call(torch._utils._rebuild_tensor_v2, storage, 0, size, stride, False, {})


def pickled(value):
    file = io.BytesIO()
    pickler = pickle._Pickler(file, 2)
    pickler.persistent_id = lambda value: (
        value if isinstance(value, tuple) and value[:1] == ("storage",) else None
    )
    pickler.dump(value)
    return file.getvalue()


def archive(content, storage=b"", compression=zipfile.ZIP_STORED):
    """A file as torch.save writes it, of a pickle and a storage."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as entries:
        entries.writestr("archive/data.pkl", content)
        entries.writestr("archive/data/0", storage)
        entries.writestr("archive/version", "3\n")
    return file.getvalue()


def legacy(content, storage=b""):
    """The same as torch wrote it before release 1.6."""
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {})]
    count = struct.pack("<q", len(storage) // 4)
    return b"".join(head) + content + pickle.dumps(["0"], 2) + count + storage


def dimensions(count):
    return pickled(dict(a=tensor(1, (1,) * count, (1,) * count)))


UNFOLDS = "it unfolds to much more than its size"
LARGER = "it has a tensor larger than its storage"
NO_NAME = "it has a key that is neither a string nor a small number"
# Two to the power of 60 tuples to hash, a file of 4 kB with 4 GB of numbers, and the like.
HOSTILE = {
    "nested key": (archive(b"\x80\x02})q\x00" + b"h\x00\x86q\x00" * 60 + b"K\x01s."), UNFOLDS),
    "nested key, legacy": (
        legacy(b"\x80\x02})q\x00" + b"h\x00\x86q\x00" * 60 + b"K\x01s."), UNFOLDS
    ),
    "colliding keys": (archive(pickled({i * ((1 << 61) - 1): 0 for i in range(20_000)})), NO_NAME),
    "deep": (archive(b"\x80\x02)" + b"\x85" * 50_000 + b"."), "nested more than 100 deep"),
    "module in itself": (
        archive(b"\x80\x02" + MODULE + b"q\x00" + HOLD_TWICE + b"."), "an object that holds itself"
    ),
    "list in itself": (archive(b"\x80\x02}X\x01\x00\x00\x00a]q\x00h\x00as."), "holds itself"),
    "tower of modules": (
        archive(
            b"\x80\x02](" + MODULE + b"q\x00" + (MODULE + HOLD_TWICE + b"q\x00") * 40 + b"e."
        ),
        UNFOLDS,
    ),
    "50,000 dimensions": (archive(dimensions(50_000), bytes(4)), "a tensor of 50000 dimensions"),
    "bytearray": (archive(pickled(dict(a=Call(bytearray, 4 << 30)))), "builtins.bytearray"),
    "tensor": (archive(pickled(dict(a=Call(torch.Tensor, 1 << 30)))), "it holds torch"),
    "compressed": (
        archive(pickled(dict(a=tensor(10**7, (10**7,)))), bytes(4 * 10**7), zipfile.ZIP_DEFLATED),
        "it is compressed",
    ),
    "larger than its storage": (archive(pickled(dict(a=tensor(4, (1 << 30,)))), bytes(16)), LARGER),
    "expanded": (archive(pickled(dict(a=tensor(4, (1 << 30,), (0,)))), bytes(16)), LARGER),
    "storage larger than its file": (
        archive(pickled(dict(a=tensor(1 << 10, (1 << 10,)))), bytes(16)), "of another size"
    ),
    "legacy storage larger than its file": (
        legacy(pickled(dict(a=tensor(1 << 30, (1 << 30,), extra=(None,))))), UNFOLDS
    ),
    "a storage in two sizes": (
        legacy(pickled([tensor(4, (4,)), tensor(1 << 30, (4,))]), bytes(16)), "in two sizes"
    ),
    "many views": (
        archive(pickled([tensor(100_000, (100_000,)) for _ in range(1000)]), bytes(400_000)),
        UNFOLDS,
    ),
    "opcodes": (archive(b"\x80\x02](" + b"N" * 600_000 + b"e."), "more than 200000 opcodes"),
    "many objects": (
        archive(b"\x80\x02](cnumpy\nndarray\nq\x00" + b"h\x00)R" * 50_000 + b"e."),
        "it has too many objects of other programs",
    ),
    "another protocol": (archive(pickle.dumps(dict(a=1), 4)), "its pickle protocol is 4"),
    "slow encoding": (
        archive(pickled(dict(a=Call(codecs.encode, "a" * 100_000, "punycode")))),
        "an encoding other than latin1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_one_line(tmp_path, monkeypatch, kind):
    content, message = HOSTILE[kind]
    path = tmp_path / "hostile.pth"
    path.write_bytes(content)
    monkeypatch.setattr(scripts, "TIMEOUT", 30)
    printed = scripts.run_script("eval.py", path, code=2)
    assert printed.count("\n") == 1 and f"error: {path}: " in printed and message in printed


def test_a_script_of_torchscript_is_one_line(tmp_path, recwarn):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "script.pt")
    recwarn.clear()
    with pytest.raises(UserError, match="it is a TorchScript program"):
        read(tmp_path / "script.pt")
    assert not recwarn.list


def test_a_pipe_and_a_folder_are_no_checkpoint(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (tmp_path / "pipe.pth", tmp_path):
        with pytest.raises(UserError, match="no such checkpoint"):
            read(path)


def test_attributes_of_dictionaries_are_left_out(tmp_path):
    """A dictionary's `get` could otherwise be what a file says."""
    body = b"\x80\x02ccollections\nOrderedDict\n)R}X\x03\x00\x00\x00getK\x01sb."
    (tmp_path / "a.pth").write_bytes(archive(body))
    assert read(tmp_path / "a.pth").get("a", 3) == 3


def test_a_dictionary_as_python_2_pickled_it_is_read(tmp_path):
    """As a list of pairs, in ssd.pytorch's files."""
    body = b"\x80\x02ccollections\nOrderedDict\n]](U\x01aK\x01ea\x85R."
    (tmp_path / "a.pth").write_bytes(archive(body))
    assert read(tmp_path / "a.pth") == dict(a=1)


def test_what_is_shared_may_be_used_several_times(tmp_path):
    shared = torch.zeros(1000)
    torch.save(dict(a=shared, b=shared, c=[(1, 2)] * 100), tmp_path / "a.pth")
    content = read(tmp_path / "a.pth")
    assert content["a"] is content["b"] and len(content["c"]) == 100


def test_storages_and_names_of_foreign_objects_are_told():
    check = PickleCheck(file_size=100)
    check.check(pickled([tensor(4, (2, 2), (2, 1)), Call(argparse.Namespace)]))
    assert check.storages == {"0": (4, 4)} and check.foreign == {"argparse.Namespace": "object"}
