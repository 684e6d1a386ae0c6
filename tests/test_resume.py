"""A run that was killed at any moment and resumed ends as one that was left alone: bit for bit."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import train
from data.dataset import Dataset
from data.records import Records
from tests.conftest import ROOT, wait_for_log, write_coco
from tests.scripts import run_script
from utils import checkpoint, stop
from utils.log import read_log
from utils.options import train_parser
from utils.saver import folder_to_resume

OBJECTS = [
    [(10, 20, 30, 40, 1)],
    [],
    [(0, 0, 50, 50, 0), (5, 5, 9, 9, 1)],
    [(40, 10, 50, 50, 0)],
    [(1, 1, 20, 30, 1)],
]


@pytest.fixture
def data(tmp_path):
    write_coco(tmp_path / "data", OBJECTS)
    write_coco(tmp_path / "data", OBJECTS[:2], split="val")
    return tmp_path / "data"


def flags(data, recipe, workers, iterations):
    return [
        "--recipe",
        recipe,
        "--dataset",
        "coco",
        "--root",
        str(data),
        "--resize",
        "64",
        "--batch",
        "2",
        "--workers",
        str(workers),
        "--iters",
        str(iterations),
        "--warmup",
        "3",
        "--save-every",
        "2",
        "--eval-every",
        "7",
        "--log-every",
        "1",
        "--device",
        "cpu",  # a GPU adds in an order of its own, so that its last bits differ from run to run
    ]


def start(arguments):
    return subprocess.Popen(
        [sys.executable, "train.py", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def interrupted(arguments, folder, kills, longest):
    """Train to the end, through so many kills, each at most so many seconds after the run's first
    sign of life."""

    def rest():
        last = folder / "last.pth"
        return ["--resume", last] if last.exists() else arguments

    dice = random.Random(0)
    for _ in range(kills):
        process = start(rest())
        while process.poll() is None and "iteration" not in process.stdout.readline():
            pass
        time.sleep(dice.uniform(0, longest))
        process.kill()
        process.communicate()
    run_script("train.py", *rest())


def compare(straight, broken):
    first, second = (checkpoint.load(folder / "last.pth") for folder in (straight, broken))
    assert all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())
    assert first["best"] == second["best"] and first["iteration"] == second["iteration"]
    logs = [
        [
            {
                name: value
                for name, value in entry.items()
                if name not in ("images_per_second", "data_wait")
            }
            for entry in read_log(folder / "log.jsonl")
        ]
        for folder in (straight, broken)
    ]
    assert logs[0] == logs[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe, workers, iterations, kills, longest",
    (
        ("shapes", 0, 8, 1, 1),
        pytest.param("shapes", 2, 8, 2, 1, marks=pytest.mark.long),
        pytest.param("ssd300_shapes", 0, 3, 1, 4, marks=pytest.mark.long),
    ),
)
def test_a_killed_and_resumed_run_ends_with_the_same_weights_and_log(
    data, tmp_path, recipe, workers, iterations, kills, longest
):
    arguments = [*flags(data, recipe, workers, iterations), "--save-folder", str(tmp_path)]
    run_script("train.py", *arguments, "--name", "straight")
    interrupted([*arguments, "--name", "broken"], tmp_path / "broken", kills, longest)
    compare(tmp_path / "straight", tmp_path / "broken")


@pytest.fixture
def finished(data, tmp_path):
    saved_as = ("--save-folder", tmp_path, "--name", "run")
    run_script("train.py", *flags(data, "shapes", 0, 4), *saved_as)
    return tmp_path / "run"


def test_a_checkpoint_cut_short_is_refused_and_the_one_before_it_offered(finished):
    data = (finished / "last.pth").read_bytes()
    (finished / "last.pth").write_bytes(data[: len(data) // 2])
    printed = run_script("train.py", "--resume", finished / "last.pth", code=2)
    assert (
        "last.pth: not a whole checkpoint" in printed
        and f"the checkpoint before it: --resume {finished / 'previous.pth'}" in printed
    )
    assert checkpoint.load(finished / "previous.pth")["iteration"] == 2


def test_a_finished_run_s_checkpoint_that_was_copied_ends_in_a_folder_of_its_own(
    finished, tmp_path
):
    (tmp_path / "copy").mkdir()
    shutil.copy(finished / "last.pth", tmp_path / "copy")
    copied = ("--resume", tmp_path / "copy/last.pth", "--name", "again")
    printed = run_script("train.py", *copied, "--save-folder", tmp_path)
    assert "4 of 4 iterations are done" in printed
    contents = [checkpoint.load(folder / "last.pth") for folder in (finished, tmp_path / "again")]
    assert contents[0]["iteration"] == contents[1]["iteration"]
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["last.pth"]


def test_a_copied_run_has_a_best_checkpoint_of_its_own(finished, tmp_path):
    content = checkpoint.load(finished / "last.pth") | dict(best=0.99)
    torch.save(content, tmp_path / "copied.pth")
    copied = ("--resume", tmp_path / "copied.pth", "--iters", "6", "--save-folder", tmp_path)
    printed = run_script("train.py", *copied, "--name", "again")
    assert "so the next evaluation counts as the best" in printed
    assert (tmp_path / "again/best.pth").exists()


def test_a_resumed_run_logs_the_steps_of_one_that_was_left_alone(data, tmp_path):
    """Also where the log has no line yet of the steps before the checkpoint."""
    arguments = [*flags(data, "shapes", 0, 6), "--log-every", "3", "--keep-checkpoints", "9"]
    run_script("train.py", *arguments, "--lr", "0.01", "--save-folder", tmp_path, "--name", "run")
    log = read_log(tmp_path / "run/log.jsonl")
    # As if it had been killed after its first checkpoint.
    (tmp_path / "run/iteration_0000002.pth").replace(tmp_path / "run/last.pth")
    printed = run_script("train.py", "--resume", tmp_path / "run/last.pth")
    assert "is of iteration 2" in printed
    names = ("iteration", "box_loss", "relative_step")
    first, second = (
        [[entry.get(name) for name in names] for entry in entries]
        for entries in (log, read_log(tmp_path / "run/log.jsonl"))
    )
    assert first == second


@pytest.mark.long
def test_resuming_a_finished_run_changes_nothing(finished):
    before, log = (finished / "last.pth").read_bytes(), read_log(finished / "log.jsonl")
    printed = run_script("train.py", "--resume", finished / "last.pth")
    assert read_log(finished / "log.jsonl") == log
    assert "4 of 4 iterations are done; use a larger --iters to continue" in printed
    assert (finished / "last.pth").read_bytes() == before
    run_script("train.py", "--resume", finished / "last.pth", "--iters", "6")
    assert checkpoint.load(finished / "last.pth")["iteration"] == 6


def test_best_weights_have_nothing_to_resume_from(finished):
    assert "resume from last.pth" in run_script(
        "train.py", "--resume", finished / "best.pth", code=2
    )


@pytest.mark.parametrize(
    "number", (signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long))
)
def test_a_stopped_run_saves_and_says_how_to_go_on(data, tmp_path, number):
    process = start(
        [
            *flags(data, "shapes", 1, 100000),
            "--save-every",
            "100000",
            "--eval-every",
            "100000",
            "--save-folder",
            str(tmp_path),
            "--name",
            "run",
        ]
    )
    wait_for_log(process, tmp_path / "run", entries=3)
    process.send_signal(number)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number, printed
    assert (
        f"go on with: python train.py --resume {tmp_path / 'run/last.pth'}" in printed
        and "Traceback" not in printed
    )
    assert checkpoint.load(tmp_path / "run/last.pth")["iteration"] >= 3


def test_nan_in_a_weight_stops_before_it_is_saved_and_names_the_files(finished):
    content = checkpoint.load(finished / "last.pth")
    content["model"]["base.conv1.weight"][:] = float("nan")
    content["iteration"] = 2
    torch.save(content, finished / "last.pth")
    before = (finished / "last.pth").read_bytes()
    printed = run_script("train.py", "--resume", finished / "last.pth", code=2)
    assert (
        "the loss or its gradient is not finite at iteration 3" in printed
        and "train2017/" in printed
    )
    assert (finished / "last.pth").read_bytes() == before


def test_an_optimizer_s_tensor_of_another_shape_is_one_line(finished):
    content = checkpoint.load(finished / "last.pth")
    content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)
    torch.save(content, finished / "last.pth")
    printed = run_script("train.py", "--resume", finished / "last.pth", "--iters", "9", code=2)
    assert "its optimizer has exp_avg of (3,), not (" in printed


def test_nan_in_an_image_stops_before_it_is_saved_and_names_its_file(
    data, tmp_path, monkeypatch, capsys
):
    """Files hold bytes, so it is put in where they are read: into one image, from the second epoch
    on."""
    read_sample = Dataset.__getitem__

    def poisoned(dataset, key):
        image, target = read_sample(dataset, key)
        return np.full(image.shape, np.nan, np.float32) if key[0] > 0 and target[
            "index"
        ] == 3 else image, target

    monkeypatch.setattr(Dataset, "__getitem__", poisoned)
    monkeypatch.setattr(
        "sys.argv",
        [
            "train.py",
            *flags(data, "shapes", 0, 30),
            "--save-every",
            "1",
            "--eval-every",
            "100",
            "--log-every",
            "7",
            "--save-folder",
            str(tmp_path),
            "--name",
            "run",
        ],
    )
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    with pytest.raises(SystemExit) as stopped:
        stop.run_script(train.main)
    for one, handler in handlers.items():
        signal.signal(one, handler)
    told = re.search(
        r"error: the loss or its gradient is not finite at iteration (\d+): .*train2017/3.jpg",
        capsys.readouterr().err,
    )
    assert stopped.value.code == 2 and told
    content = checkpoint.load(tmp_path / "run/last.pth")
    assert content["iteration"] == int(told[1]) - 1 and all(
        value.isfinite().all() for value in content["model"].values()
    )


def test_periodic_checkpoints_are_kept_as_many_as_asked(data, tmp_path):
    saved_as = ("--save-folder", tmp_path, "--name", "run")
    run_script("train.py", *flags(data, "shapes", 0, 8), "--keep-checkpoints", "2", *saved_as)
    assert sorted(path.name for path in (tmp_path / "run").glob("iteration_*")) == [
        "iteration_0000006.pth",
        "iteration_0000008.pth",
    ]


def test_patience_ends_a_run_that_does_not_improve(data, tmp_path):
    arguments = [*flags(data, "shapes", 0, 50), "--lr", "0", "--eval-every", "2", "--patience", "3"]
    run_script("train.py", *arguments, "--save-folder", tmp_path, "--name", "run")
    assert checkpoint.load(tmp_path / "run/last.pth")["iteration"] <= 10


@pytest.mark.long
def test_a_moving_average_is_judged_and_saved_beside_the_weights(data, tmp_path):
    saved_as = ("--save-folder", tmp_path, "--name", "run")
    run_script("train.py", *flags(data, "shapes", 0, 4), "--ema", "0.9", *saved_as)
    run_script("train.py", "--resume", tmp_path / "run/last.pth", "--iters", "6")
    content = checkpoint.load(tmp_path / "run/last.pth")
    assert content["iteration"] == 6 and content["ema"]["n_averaged"] == 6
    assert not torch.equal(
        content["model"]["base.conv1.weight"], content["training"]["base.conv1.weight"]
    )
    assert json.loads((tmp_path / "run/recipe.json").read_text())["ema"] == 0.9


@pytest.mark.long
@pytest.mark.parametrize(
    "change, is_kept", (((), True), (("--val-share", "0.5"), True), (("--metric", "voc12"), False))
)
def test_the_best_result_of_another_metric_is_not_compared_with(finished, change, is_kept):
    last = finished / "last.pth"
    resumed = resume_in_process(last, "--iters", "99", *change)
    assert resumed["best"] == (checkpoint.load(last)["best"] if is_kept else -1)


@pytest.mark.long
def test_the_best_result_on_other_images_is_not_compared_with(finished, monkeypatch):
    fingerprint = Records.fingerprint
    monkeypatch.setattr(Records, "fingerprint", lambda records: fingerprint(records.subset([0])))
    assert resume_in_process(finished / "last.pth", "--iters", "99")["best"] == -1


@pytest.mark.long
def test_patience_counts_anew_where_it_is_typed(finished):
    last = finished / "last.pth"
    torch.save(checkpoint.load(last) | dict(stale=3), last)
    assert resume_in_process(last, "--iters", "99")["stale"] == 3
    assert resume_in_process(last, "--iters", "99", "--patience", "2")["stale"] == 0


@pytest.mark.long
def test_an_earlier_checkpoint_goes_on_in_place_only_if_the_last_is_unreadable(finished, tmp_path):
    previous = finished / "previous.pth"
    assert folder_to_resume(previous, tmp_path, None, "another") == tmp_path / "another"
    (finished / "last.pth").write_bytes(b"cut short")
    assert folder_to_resume(previous, tmp_path, None, "third") == finished


def resume_in_process(path, *arguments):
    """The content of a checkpoint as a run begins with it that resumes it."""
    flags = train_parser("").parse(["--resume", str(path), *arguments])
    return train.resumed_run(flags, torch.device("cpu"))[-1]["resumed"]
