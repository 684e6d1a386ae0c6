"""Watching a run on a real visdom server, started here, and in TensorBoard's files."""

import base64
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT, write_coco
from tests.scripts import run_script
from utils import watch
from utils.log import read_log

OBJECTS = [[(10, 20, 30, 40, 1)], [(40, 10, 50, 50, 0)]]


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@pytest.fixture
def server(tmp_path):
    port = free_port()
    (tmp_path / "visdom").mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "visdom.server",
            "-port",
            str(port),
            "-env_path",
            str(tmp_path / "visdom"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(150):
        time.sleep(0.2)
        try:
            urllib.request.urlopen(f"http://localhost:{port}", timeout=1)
            break
        except OSError:
            continue
    yield process, port
    process.kill()


def flags(folder, iterations):
    write_coco(folder / "data", OBJECTS)
    write_coco(folder / "data", OBJECTS, split="val")
    return [
        "--recipe",
        "shapes",
        "--dataset",
        "coco",
        "--root",
        str(folder / "data"),
        "--resize",
        "64",
        "--batch",
        "2",
        "--workers",
        "0",
        "--iters",
        str(iterations),
        "--log-every",
        "1",
        "--save-folder",
        str(folder),
        "--name",
        "run",
    ]


def window(port, title):
    """The curves of a window as the server has them: name -> (x, y)."""
    request = urllib.request.Request(
        f"http://localhost:{port}/win_data", json.dumps(dict(win=title, eid="run")).encode()
    )
    content = json.loads(urllib.request.urlopen(request).read())["content"]
    return {curve["name"]: (curve["x"], curve["y"]) for curve in content["data"]}


@pytest.mark.slow
def test_the_points_on_the_server_are_those_of_the_log(server, tmp_path):
    run_script("train.py", *flags(tmp_path, 5), "--visdom", f"localhost:{server[1]}")
    entries = [entry for entry in read_log(tmp_path / "run/log.jsonl") if "lr" in entry]
    for entry in entries:
        entry["total"] = entry["box_loss"] + entry["class_loss"]
    windows = {
        "loss": ("box_loss", "class_loss", "total"),
        "learning rate": ("lr",),
        "images per second": ("images_per_second",),
        "waiting for data": ("data_wait",),
        "grad_norm": ("grad_norm",),
    }
    for title, names in windows.items():
        curves = window(server[1], title)
        for name in names:
            assert curves[name][0] == [1, 2, 3, 4, 5]
            known = [entry[name] for entry in entries]
            assert curves[name][1] == pytest.approx(known)
    assert window(server[1], "average precision")["AP"][0] == [5]


@pytest.mark.long
def test_a_server_that_dies_is_one_warning_and_the_run_goes_on(server, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "train.py", *flags(tmp_path, 60), "--visdom", f"localhost:{server[1]}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while (
        not (tmp_path / "run/log.jsonl").exists() or len(read_log(tmp_path / "run/log.jsonl")) < 3
    ):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    server[0].kill()
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == 0, printed
    assert printed.count("warning: the visdom server") == 1


def test_a_server_that_is_not_there_is_one_line_with_the_command_that_starts_it(tmp_path):
    port = free_port()
    printed = run_script("train.py", *flags(tmp_path, 5), "--visdom", f"localhost:{port}", code=2)
    assert (
        f"no visdom server at http://localhost:{port}: start one with python -m "
        f"visdom.server -port {port}" in printed
    )
    assert "Traceback" not in printed


@pytest.mark.slow
def test_curves_of_an_earlier_run_of_this_name_are_replaced_and_a_resumed_one_goes_on(server):
    address = f"localhost:{server[1]}"
    for resumed, iterations in ((False, (1, 2)), (False, (1,)), (True, (2, 3))):
        visdom = watch.Visdom(address, "run", resumed)
        for iteration in iterations:
            visdom.points("train", iteration, dict(total=0.5))
    assert window(server[1], "loss")["total"][0] == [1, 2, 3]


@pytest.mark.long
def test_a_picture_is_whole_and_shrinks_with_its_window(server):
    visdom = watch.Visdom(f"localhost:{server[1]}", "run")
    visdom.picture("detections", np.full((700, 1400, 3), (250, 0, 0), np.uint8), 20)
    request = urllib.request.Request(
        f"http://localhost:{server[1]}/win_data",
        json.dumps(dict(win="detections", eid="run")).encode(),
    )
    shown = json.loads(urllib.request.urlopen(request).read())
    source, style = re.fullmatch('<img src="(.*)" style="(.*)">', shown["content"]).groups()
    assert style == "width: 100%" and source.startswith("data:image/jpeg;base64,")
    data = base64.b64decode(source.partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (700, 1400, 3) and picture[0, 0].tolist()[2] > 240, "red stays red"
    assert shown["width"] == 900 and 450 < shown["height"] < 500 and "20" in shown["title"]


def test_runs_of_one_name_stay_apart_in_a_logdir(tmp_path):
    for start in (0, 0, 1):
        watch.TensorBoard(tmp_path, "run", start).points("train", start + 1, dict(total=0.5))
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["run", "run-2"]
    files = [len(list((tmp_path / name).iterdir())) for name in ("run", "run-2")]
    assert files == [1, 2], "the resumed one goes on in the folder of the last run"


def test_a_resumed_run_replaces_the_points_after_its_checkpoint(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = watch.TensorBoard(tmp_path, "run")
    for iteration in range(1, 5):
        board.points("train", iteration, dict(total=1.0))
    watch.TensorBoard(tmp_path, "run", start=2).points("train", 3, dict(total=2.0))
    points = EventAccumulator(str(tmp_path / "run")).Reload().Scalars("train/total")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 1.0), (3, 2.0)]


def test_tensorboard_gets_its_files(tmp_path):
    run_script("train.py", *flags(tmp_path, 3), "--logdir", tmp_path / "board")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "board/run")).Reload()
    expected = [
        entry["box_loss"] for entry in read_log(tmp_path / "run/log.jsonl") if "lr" in entry
    ]
    assert [point.value for point in board.Scalars("train/box_loss")] == pytest.approx(expected)
    assert [point.step for point in board.Scalars("val/AP")] == [3]
    assert [point.step for point in board.Images("val/detections")] == [3]
    names = (
        "box_loss",
        "class_loss",
        "total",
        "epoch_loss",
        "grad_norm",
        "lr",
        "relative_step",
        "images_per_second",
        "data_wait",
    )
    tags = {f"train/{name}" for name in names} | {"val/AP", "val/AP50"}
    assert set(board.Tags()["scalars"]) == tags
