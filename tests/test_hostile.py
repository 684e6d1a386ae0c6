"""Checkpoints of strangers: nothing is executed or written, and every broken one is one line."""

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from data.text import UserError
from published.load import load_detector
from tests.conftest import ROOT
from tests.scripts import run_script
from utils import checkpoint
from utils.build import build_detector
from utils.recipes import RECIPES

RECIPE = RECIPES["shapes"] | dict(channels=32, head_convs=1, head_norm="none")


@pytest.fixture(scope="module")
def content():
    torch.manual_seed(0)
    return checkpoint.detector_content(build_detector(RECIPE, 2)[0], RECIPE, ["cat", "dog"])


def refused(path):
    """The line with which a file is refused."""
    with pytest.raises(UserError) as refusal:
        load_detector(path)
    assert path.name in str(refusal.value) and "\n" not in str(refusal.value)
    return str(refusal.value)


def legacy(path, body):
    """A file as torch wrote it before release 1.6, whose content is this pickle."""
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {})]
    path.write_bytes(b"".join(head) + body + pickle.dumps([], 2))
    return path


def test_a_file_cannot_write_another_through_its_reader(tmp_path):
    """torch's legacy reader writes the source of a changed module to <name>.patch if it is
    told to."""
    target = tmp_path / "written"
    name = str(target).encode()
    body = (
        b"\x80\x02"
        b"ctorch._utils\n_rebuild_tensor_v2\n"
        b"}(X\x0c\x00\x00\x00dump_patches\x88X\x08\x00\x00\x00__name__X"
        + struct.pack("<I", len(name))
        + name
        + b"ub."
    )
    refused(legacy(tmp_path / "evil.pth", body=body))
    body = (
        b"\x80\x02(X\x06\x00\x00\x00modulectorch.nn.modules.linear\nLinear\n"
        b"X\x04\x00\x00\x00a.pyX\x04\x00\x00\x00codetQ."
    )
    refused(legacy(tmp_path / "evil2.pth", body=body))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pth", "evil2.pth"]
    assert torch._utils._rebuild_tensor_v2.__name__ == "_rebuild_tensor_v2"


@pytest.mark.parametrize(
    "function", (os.system, print, eval, exec, open, torch.load, getattr, pickle.loads)
)
def test_no_function_is_called(tmp_path, function, capsys):
    class Evil:
        def __reduce__(self):
            return function, (f"touch {tmp_path}/executed",)

    for name, value in (("a.pth", Evil()), ("b.pth", dict(model=Evil())), ("c.pth", [Evil()] * 2)):
        torch.save(value, tmp_path / name)
        refused(tmp_path / name)
    assert not (tmp_path / "executed").exists() and not capsys.readouterr().out


def test_a_pickle_bomb_takes_no_time_and_no_memory(tmp_path):
    deep = b"\x80\x02)" + b"\x85" * 50_000 + b"."
    doubled = b"\x80\x02)q\x00" + b"".join(b"0h\x00h\x00\x86q\x00" for _ in range(60))
    as_key = doubled + b"0}h\x00K\x01s."
    memo = b"\x80\x02}r\xff\xff\xff\x7f."
    for number, body in enumerate((deep, as_key, memo, b"\x80\x02\x8f(K\x01\x90.")):
        refused(legacy(tmp_path / f"{number}.pth", body=body))


def zipped(path, body, storages):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
        for name, data in storages.items():
            archive.writestr(f"archive/data/{name}", data)
        archive.writestr("archive/version", "3\n")
    return path


@pytest.mark.parametrize(
    "numel, size, stride",
    ((1, 10**9, 0), (10**9, 4, 1), (4, -4, 1), (4, 4, -1), (4, 4, 10**6), (4, 2**40, 2**40)),
)
def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path, numel, size, stride):
    file = io.BytesIO()
    pickler = pickle._Pickler(file, 2)
    pickler.persistent_id = lambda value: value if isinstance(value, tuple) and value else None

    class Tensor:
        def __reduce__(self):
            storage = ("storage", torch.FloatStorage, "0", "cpu", numel)
            return torch._utils._rebuild_tensor_v2, (storage, 0, (size,), (stride,), False, {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickler, "persistent_id", persistent_storage)
        pickler.dump(dict(model={"a.weight": Tensor()}, other=set()))
    refused(zipped(tmp_path / "a.pth", file.getvalue(), {"0": b"\0" * 16}))


def persistent_storage(value):
    return value if isinstance(value, tuple) and value[:1] == ("storage",) else None


@pytest.mark.parametrize("zipped_file", (True, False))
def test_a_cut_file_is_one_line_wherever_it_is_cut(tmp_path, content, zipped_file):
    path = tmp_path / "cut.pth"
    small = dict(
        content, model={name: value[:1] for name, value in content["model"].items() if value.ndim}
    )
    torch.save(small, path, _use_new_zipfile_serialization=zipped_file)
    data, dice = path.read_bytes(), random.Random(0)
    for _ in range(40):
        path.write_bytes(data[: dice.randrange(len(data))])
        refused(path)


def test_damage_in_the_middle_is_seen(tmp_path, content):
    path = tmp_path / "damaged.pth"
    checkpoint.save(path, content)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1000] = bytes(1000)
    path.write_bytes(data)
    assert "not a whole checkpoint" in refused(path)


def test_random_bytes_and_flipped_bits_are_one_line_or_a_detector(tmp_path, content):
    path, dice = tmp_path / "fuzzed.pth", random.Random(0)
    small = {"a.weight": torch.zeros(3), "b": [1, "x", None]}
    for zipped_file in (True, False):
        torch.save(small, path, _use_new_zipfile_serialization=zipped_file)
        data = path.read_bytes()
        for _ in range(60):
            fuzzed = bytearray(data)
            for _ in range(dice.randrange(1, 6)):
                fuzzed[dice.randrange(len(fuzzed))] = dice.randrange(256)
            path.write_bytes(fuzzed)
            refused(path)
    for size in (0, 1, 100, 5000):
        path.write_bytes(dice.randbytes(size))
        refused(path)


@pytest.mark.parametrize(
    "change, message",
    (
        (dict(recipe=dict(flavour=1)), "its recipe has fields that are not known here: flavour"),
        (dict(recipe=dict(depth=77)), "depth 77: choose"),
        (dict(recipe=dict(model="yolo")), "model 'yolo': choose"),
        (dict(recipe=dict(prior_sizes=3)), "prior_sizes '3': of the wrong type"),
        (dict(recipe=dict(prior_sizes=("a",) * 5)), "of the wrong type"),
        (dict(recipe=dict(norm_epsilon="1e-5")), "norm_epsilon '1e-5': of the wrong type"),
        (dict(recipe=dict(norm_epsilon=float("nan"))), "norm_epsilon nan: must be at least"),
        (dict(recipe=dict(norm_epsilon=0.0)), "norm_epsilon 0.0: must be at least 1e-38"),
        (dict(recipe=dict(pixel_mean=(1, 2))), "pixel_mean (1, 2): retinanet needs 3 of them"),
        (dict(recipe=dict(pixel_mean=(1, 2, 256))), "pixel_mean (1, 2, 256): must be at most 255"),
        (dict(recipe=dict(pixel_mean=3)), "pixel_mean '3': of the wrong type"),
        (dict(recipe=dict(prior_clamp=[1])), "prior_clamp '[1]': of the wrong type"),
        (dict(recipe=dict(clip_boxes="image ")), "clip_boxes 'image ': choose image, input"),
        (dict(recipe=dict(size_divisor=32.5)), "size_divisor '32.5': of the wrong type"),
        (dict(recipe=dict(min_padding=10**9)), "min_padding 1000000000: must be at most 1024"),
        (dict(recipe=dict(resize=10**9)), "resize 1000000000: must be at most"),
        (dict(recipe=dict(head_convs=10**7)), "head_convs 10000000: must be at most"),
        (dict(show_threshold="0.5"), "show_threshold '0.5' is not a score"),
        (dict(show_threshold=float("nan")), "show_threshold 'nan' is not a score"),
        (dict(classes=["a"] * 60_000), "size mismatch for class_head.last.weight"),
        (dict(classes=[]), "it has no classes"),
        (dict(classes=[1, 2]), "no known detector"),
        (dict(recipe=3), "no known detector"),
        (dict(classes=["a"]), "other tensors than its detector's"),
        (dict(model={1: 2}), ""),
        (dict(model=np.zeros(3)), ""),
    ),
)
def test_content_of_another_kind_is_one_line(tmp_path, content, change, message):
    if isinstance(change.get("recipe"), dict):
        change = dict(recipe=content["recipe"] | change["recipe"])
    torch.save(content | change, tmp_path / "a.pth")
    assert message in refused(tmp_path / "a.pth")


def test_no_text_of_a_recipe_is_run_as_code_for_torchvision(tmp_path, content):
    """tools.convert runs the lines that it prints, which hold numbers of the recipe."""
    written = tmp_path / "written"
    code = f"1e-5 if open({str(written)!r}, 'w') else 1e-5"
    recipe = content["recipe"] | dict(norm_epsilon=code)
    torch.save(content | dict(recipe=recipe), tmp_path / "a.pth")
    output = tmp_path / "theirs.pth"
    run_script(
        "tools/convert.py", tmp_path / "a.pth", "--to", "torchvision", "--output", output, code=2
    )
    assert not written.exists()


def test_weights_that_are_not_finite_are_named(tmp_path, content):
    model = {name: value.clone() for name, value in content["model"].items()}
    model["base.conv1.weight"][0] = float("nan")
    torch.save(content | dict(model=model), tmp_path / "a.pth")
    assert "base.conv1.weight holds numbers that are not finite" in refused(tmp_path / "a.pth")


def test_notes_of_another_kind_are_left_out(tmp_path, content):
    torch.save(content | dict(notes=3), tmp_path / "a.pth")
    assert load_detector(tmp_path / "a.pth").classes == ["cat", "dog"]


def test_of_a_run_s_folder_the_best_checkpoint_is_read(tmp_path, content):
    checkpoint.save(tmp_path / "best.pth", content)
    assert load_detector(tmp_path).classes == ["cat", "dog"]
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty")


@pytest.mark.long
def test_files_of_every_kind_with_a_wrong_field_are_used_or_are_one_line():
    command = [sys.executable, "-m", "tests.hostile", "--count", "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
