"""Two processes under torchrun train and judge as one process does."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import pytest
import torch

from data.text import UserError
from tests.conftest import ROOT, wait_for_log, write_coco
from tests.scripts import run_script
from utils import checkpoint, parallel
from utils.log import read_log
from utils.stop import read_batches

OBJECTS = [
    [(10, 20, 30, 40, 1)],
    [],
    [(0, 0, 50, 50, 0), (5, 5, 9, 9, 1)],
    [(40, 10, 50, 50, 0)],
    [(1, 1, 20, 30, 1)],
]


# A run that first writes the number of its process, by its rank, beside the script.
WRITES_NUMBER = """
import os, pathlib, runpy, sys

path = pathlib.Path(__file__).with_name(f"process_{os.environ['RANK']}.txt")
path.write_text(str(os.getpid()))
sys.path.insert(0, os.getcwd())
runpy.run_path("train.py", run_name="__main__")
"""


def flags(folder, name, iterations):
    return [
        "--recipe",
        str(folder / "plain.py"),
        "--dataset",
        "coco",
        "--root",
        str(folder / "data"),
        "--resize",
        "64",
        "--batch",
        "4",
        "--workers",
        "0",
        "--iters",
        str(iterations),
        "--warmup",
        "3",
        "--eval-every",
        "10",
        "--log-every",
        "1",
        "--no-augment",
        "--optimizer",
        "sgd",
        "--lr",
        "0.001",
        "--full-precision",
        "--device",
        "cpu",
        "--save-folder",
        str(folder),
        "--name",
        name,
    ]


def torchrun(arguments, script="train.py"):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            script,
            *arguments,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | dict(OMP_NUM_THREADS="1"),
    )


@pytest.fixture
def folder(tmp_path):
    write_coco(tmp_path / "data", OBJECTS)
    write_coco(tmp_path / "data", OBJECTS[:3], split="val")
    # GroupNorm over the two values that a group has in a map of one cell makes a coin's toss of
    # rounding.
    (tmp_path / "plain.py").write_text(
        "from utils.recipes import shapes\nrecipe = shapes | dict(head_norm='none')\n"
    )
    return tmp_path


@pytest.mark.long
def test_two_processes_have_the_losses_and_the_precision_of_one(folder):
    # Batch norm sees only its own process's images; fine-tuning freezes it.
    run_script("train.py", *flags(folder, "base", 2))
    finetune = ["--weights", str(folder / "base/best.pth")]
    run_script("train.py", *flags(folder, "one", 20), *finetune)
    process = torchrun([*flags(folder, "two", 20), *finetune])
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 0, printed
    one, two = (read_log(folder / name / "log.jsonl") for name in ("one", "two"))
    assert len(one) == len(two) == 23
    for first, second in zip(one, two):
        for name in ("box_loss", "class_loss"):
            assert second.get(name, 0) == pytest.approx(first.get(name, 0), abs=1e-4)
    assert (folder / "two/predictions.jpg").exists() and printed.count("checkpoint   ") == 1

    # Each of the two processes in two parts: the same again.
    process = torchrun([*flags(folder, "parts", 20), *finetune, "--accumulate", "2"])
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 0, printed
    for first, second in zip(one, read_log(folder / "parts/log.jsonl")):
        assert second.get("box_loss", 0) == pytest.approx(first.get("box_loss", 0), abs=1e-4)
        assert second.get("class_loss", 0) == pytest.approx(first.get("class_loss", 0), abs=1e-4)

    same = ["--full-precision", "--device", "cpu"]
    # The same weights, judged on three images by one process and by two.
    alone = run_script("eval.py", folder / "one/last.pth", "--output", folder / "alone", *same)
    process = torchrun(
        [str(folder / "one/last.pth"), "--output", str(folder / "shared"), *same],
        script="eval.py",
    )
    shared = process.communicate(timeout=100)[0]
    assert [line for line in shared.splitlines() if "AP" in line] == [
        line for line in alone.splitlines() if "AP" in line
    ]
    assert (folder / "alone/detections.json").read_text() == (
        folder / "shared/detections.json"
    ).read_text()


@pytest.mark.long
def test_what_two_processes_evaluate_are_the_weights_and_statistics_that_they_save(folder):
    learning = ["--eval-every", "25", "--optimizer", "adamw", "--lr", "0.002"]
    process = torchrun([*flags(folder, "two", 25), *learning])
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 0, printed
    same = ["--full-precision", "--device", "cpu", "--output", folder / "eval"]
    run_script("eval.py", folder / "two/best.pth", *same)
    first, second = (
        json.loads((folder / name / "detections.json").read_text()) for name in ("two", "eval")
    )
    assert len(first) == len(second) > 0
    scores = [sorted(detection["score"] for detection in found) for found in (first, second)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_within_a_minute(folder):
    script = folder / "train_with_number.py"
    script.write_text(WRITES_NUMBER)
    process = torchrun(flags(folder, "run", 100000), script=str(script))
    wait_for_log(process, folder / "run", entries=2)
    began = time.monotonic()
    os.kill(int((folder / "process_1.txt").read_text()), signal.SIGKILL)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode != 0 and time.monotonic() - began < 60 and "SIGKILL" in printed


@pytest.mark.slow
def test_both_processes_stop_after_the_same_iteration_and_save(folder):
    process = torchrun(flags(folder, "run", 100000))
    wait_for_log(process, folder / "run", entries=2)
    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode != 0 and "Traceback" not in printed.split("go on with")[0]
    logged = read_log(folder / "run/log.jsonl")[-1]["iteration"]
    assert checkpoint.load(folder / "run/last.pth")["iteration"] >= logged
    assert printed.count("go on with: python train.py --resume") == 1


@pytest.mark.long
def test_an_image_that_one_process_cannot_read_ends_all_and_loses_nothing(folder):
    # With this seed, the second process meets image 3 in the second iteration, before the first.
    path = folder / "data/train2017/3.jpg"
    whole = cv2.imencode(".bmp", cv2.imread(str(path)))[1].tobytes()
    path.write_bytes(whole[: len(whole) // 2])
    process = torchrun([*flags(folder, "run", 100), "--seed", "1"])
    printed = process.communicate(timeout=60)[0]
    assert process.returncode != 0 and printed.count(f"error: {path}") == 1, printed
    assert "after iteration 1; go on with: python train.py --resume" in printed
    assert checkpoint.load(folder / "run/last.pth")["iteration"] == 1


@pytest.mark.long
def test_an_image_that_one_process_cannot_evaluate_ends_all_and_loses_nothing(folder):
    # Of the images of val, which all have one size, the second process has the second.
    path = folder / "data/val2017/1.jpg"
    whole = cv2.imencode(".bmp", cv2.imread(str(path)))[1].tobytes()
    path.write_bytes(whole[: len(whole) // 2])
    process = torchrun(flags(folder, "run", 100))
    printed = process.communicate(timeout=60)[0]
    assert process.returncode != 0 and printed.count(f"error: {path}") == 1, printed
    assert "after iteration 10; go on with: python train.py --resume" in printed
    assert checkpoint.load(folder / "run/last.pth")["iteration"] == 10


@pytest.mark.long
@pytest.mark.parametrize("mistake", ("data", "name"))
def test_a_mistake_is_reported_by_the_first_process_alone(folder, mistake):
    if mistake == "data":
        (folder / "data/annotations/instances_train2017.json").write_text("{")
    else:
        (folder / "run").mkdir()
        (folder / "run/other.txt").write_text("")
    process = torchrun(flags(folder, "run", 4))
    printed = process.communicate(timeout=60)[0]
    assert process.returncode != 0 and printed.count("error: ") == 1, printed
    assert "dist.barrier" not in printed and "broadcast_object_list" not in printed


@pytest.mark.parametrize(
    "capability, expected",
    (
        ("AVX2", torch.contiguous_format),
        ("AVX512", torch.channels_last),
        ("DEFAULT", torch.channels_last),
    ),
)
def test_a_model_learns_with_channels_first_where_that_is_faster(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert parallel.training_format(torch.device("cpu")) == expected


def test_images_reach_the_device_in_the_memory_format_that_was_asked_for():
    images = torch.zeros(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    moved, _ = next(read_batches([(images, [])], "cpu", torch.contiguous_format))
    assert moved.is_contiguous() and moved.shape == images.shape
    kept, _ = next(read_batches([(images, [])], "cpu", torch.preserve_format))
    assert kept.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "processor, has_bfloat16, has_amx, expected",
    (
        ("AMD EPYC", True, False, torch.bfloat16),
        ("AMD EPYC", False, False, torch.float32),
        ("Intel Xeon", True, True, torch.bfloat16),
        ("Intel Xeon", True, False, torch.float32),
    ),
)
def test_a_processor_computes_in_the_type_that_it_is_fast_in(
    monkeypatch, processor, has_bfloat16, has_amx, expected
):
    # Older versions of PyTorch have no such function.
    names = dict(cpu_name=processor)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: names, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bfloat16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    assert parallel.precision_of("auto", torch.device("cpu")) == expected


@pytest.mark.parametrize(
    "has_bfloat16, capability, expected",
    (
        (True, (9, 0), torch.bfloat16),
        (False, (7, 5), torch.float16),
        (False, (6, 1), torch.float32),
    ),
)
def test_a_gpu_computes_in_the_half_precision_that_its_hardware_has(
    monkeypatch, has_bfloat16, capability, expected
):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert parallel.precision_of("auto", torch.device("cuda:0")) == expected


@pytest.mark.parametrize("named, all_of_them", ((None, True), ("cuda", True), ("0", False)))
def test_a_named_gpu_is_that_one_alone(monkeypatch, named, all_of_them):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: None)
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    assert (parallel.start(named).index is None) == all_of_them


def test_processes_of_torchrun_do_not_share_a_gpu_that_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: None)
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--device cuda:1: torchrun gives each process a GPU"):
        parallel.start("cuda:1")


def test_a_gpu_that_is_not_there_is_one_line_with_how_many_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="--device cuda:1: there is no GPU 1; PyTorch sees 1 GPUs"):
        parallel.start("1")


def test_the_mean_over_processes_leaves_its_argument_alone(monkeypatch):
    monkeypatch.setattr(parallel, "world_size", lambda: 2)
    monkeypatch.setattr(parallel.dist, "all_reduce", lambda values: values.mul_(3))
    values = torch.tensor([2.0, 4.0])
    assert parallel.mean(values).tolist() == [3, 6] and values.tolist() == [2, 4]
