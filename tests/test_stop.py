"""A script ends when something goes wrong: in one line, with what was trained saved, and
never hangs."""

import errno
import io
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from data.text import UserError
from tests.conftest import ROOT, wait_for_log, write_coco
from tests.scripts import run_script
from utils import build, checkpoint, stop
from utils.recipes import RECIPES

SMALL = "--recipe shapes --dataset coco --resize 64 --batch 2 --log-every 1 --save-every 100000"
ENDLESS = f"{SMALL} --iters 100000 --eval-every 100000 --workers 2"


@pytest.fixture
def folder(tmp_path):
    write_coco(tmp_path / "data", [[(10, 20, 30, 40, 1)], [(0, 0, 50, 50, 0)]] * 4)
    write_coco(tmp_path / "data", [[(10, 20, 30, 40, 1)]] * 4, split="val")
    return tmp_path


# A run that kills one of its loader's processes when it is asked to by SIGUSR1.
KILLS_LOADER = """
import multiprocessing, runpy, signal, sys

signal.signal(signal.SIGUSR1, lambda *_: multiprocessing.active_children()[0].kill())
sys.argv[0] = "train.py"
runpy.run_path("train.py", run_name="__main__")
"""


def start(folder, flags=ENDLESS, script=("train.py",)):
    where = ["--root", folder / "data", "--save-folder", folder, "--name", "run"]
    command = [sys.executable, *script, *flags.split(), *where]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize("workers", (0, pytest.param(2, marks=pytest.mark.long)))
def test_an_image_that_becomes_unreadable_ends_the_training_in_one_line(folder, workers):
    process = start(folder, ENDLESS.replace("workers 2", f"workers {workers}"))
    wait_for_log(process, folder / "run", entries=3)
    (folder / "data/train2017/3.jpg").write_bytes(b"text")
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 2 and "Traceback" not in printed
    line = printed.splitlines()[-1]
    assert "3.jpg: not a readable image, after iteration" in line and "with --skip-bad" in line
    done = checkpoint.load(folder / "run/last.pth")["iteration"]
    assert done >= 3
    resume = ("--resume", folder / "run/last.pth", "--iters", str(done + 1))
    assert "not a readable image" in run_script("train.py", *resume, code=2)
    assert "11 images are left" in run_script("train.py", *resume, "--skip-bad")


def test_an_unreadable_image_is_found_before_training_and_evaluation(folder):
    where = ["--root", folder / "data", "--save-folder", folder]
    short = [*SMALL.split(), "--iters", "2", "--workers", "0", *where]
    run_script("train.py", *short, "--name", "run")
    (folder / "data/val2017/3.jpg").write_bytes(b"text")
    for script, *arguments in (
        ("eval.py", folder / "run/last.pth", "--output", folder / "eval"),
        ("train.py", *short),
    ):
        printed = run_script(script, *arguments, code=2)
        assert "3.jpg: not a readable image" in printed.splitlines()[-1]
        assert "--skip-bad goes on" in printed and "iteration" not in printed.splitlines()[-1]


def test_a_killed_loader_process_saves_what_was_trained(folder):
    process = start(folder, script=("-c", KILLS_LOADER))
    wait_for_log(process, folder / "run", entries=3)
    process.send_signal(signal.SIGUSR1)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 2 and "Traceback" not in printed
    assert (
        "a process that loads images died" in printed and "go on with: python train.py" in printed
    )
    assert checkpoint.load(folder / "run/last.pth")["iteration"] >= 3


@pytest.mark.parametrize(
    "number", (signal.SIGHUP, pytest.param(signal.SIGTERM, marks=pytest.mark.long))
)
def test_a_closed_terminal_and_a_polite_kill_save_what_was_trained(folder, number):
    process = start(folder)
    wait_for_log(process, folder / "run", entries=3)
    process.send_signal(number)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number and "Traceback" not in printed
    assert checkpoint.load(folder / "run/last.pth")["iteration"] >= 3


def test_a_second_ctrl_c_saves_too(folder):
    process = start(folder)
    wait_for_log(process, folder / "run", entries=3)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGINT and "Traceback" not in printed
    assert checkpoint.load(folder / "run/last.pth")["iteration"] >= 3


def test_a_training_whose_output_is_no_longer_read_saves_what_was_trained(folder):
    process = start(folder)
    wait_for_log(process, folder / "run", entries=3)
    process.stdout.close()
    assert process.wait(timeout=60) == 128 + stop.SIGPIPE
    assert checkpoint.load(folder / "run/last.pth")["iteration"] >= 3


def test_ctrl_c_before_the_training_is_one_line(folder):
    process = start(folder)
    assert "recipe shapes" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGINT and "Traceback" not in printed


@pytest.mark.long
def test_two_trainings_never_share_a_folder(folder):
    process = start(folder)
    wait_for_log(process, folder / "run", entries=1)
    where = ["--root", folder / "data", "--save-folder", folder, "--name", "run"]
    printed = run_script("train.py", *SMALL.split(), *where, code=2)
    assert "another run is running in" in printed or "holds" in printed
    process.kill()
    process.communicate()
    # The lock died with its process.
    run_script("train.py", *SMALL.split(), "--iters", "1", "--workers", "0", *where)


def test_a_small_shared_memory_is_seen_before_the_loader_waits_for_it(monkeypatch, tmp_path):
    class Docker:
        f_bavail, f_frsize = 64 << 20, 1

    monkeypatch.setattr(os, "statvfs", lambda place: Docker)
    assert not build.has_shared_memory(RECIPES["retinanet_coco"], workers=4)
    assert build.has_shared_memory(RECIPES["shapes"], workers=1)


def ended_with(error, capsys):
    """The exit code and what was printed of a script that raises an error."""

    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        stop.run_script(main)
    return end.value.code, capsys.readouterr().err


def test_a_run_that_saved_nothing_names_no_checkpoint_to_go_on_from(tmp_path, capsys):
    stopped = stop.Stop()
    stopped.signal = signal.SIGINT
    assert stopped.exit_code(0, tmp_path / "last.pth") == 130
    assert capsys.readouterr().out == "stopped after iteration 0; nothing was saved\n"
    for name, typed in (("run", "{}/run/last.pth"), ("my run", "'{}/my run/last.pth'")):
        last = tmp_path / name / "last.pth"
        last.parent.mkdir()
        last.touch()
        stopped.exit_code(7, last)
        assert f"--resume {typed.format(tmp_path)}\n" in capsys.readouterr().out


def test_a_mistake_is_one_line_and_exit_code_2(capsys):
    assert ended_with(UserError("no such file"), capsys) == (2, "error: no such file\n")
    assert len(ended_with(UserError("x" * 100_000), capsys)[1]) < 1100


def test_a_disk_that_cannot_be_read_is_one_line(capsys):
    error = OSError(errno.EIO, "Input/output error", "quality.png")
    assert ended_with(error, capsys) == (2, "error: quality.png: Input/output error\n")


@pytest.mark.parametrize(
    "error",
    (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("could not create a primitive"),
        ImportError("libavcodec.so: failed to map segment from shared object"),
    ),
)
def test_too_little_memory_is_one_line_that_names_what_needs_less(error, capsys):
    code, printed = ended_with(error, capsys)
    assert code == 2 and printed.count("\n") == 1
    assert all(flag in printed for flag in ("--batch", "--accumulate", "--resize"))


@pytest.mark.parametrize("error", (RuntimeError("a shape is wrong"), KeyError("lr"), TypeError()))
def test_a_bug_keeps_its_traceback(error, capsys):
    def main():
        raise error

    with pytest.raises(type(error)):
        stop.run_script(main)


def test_a_batch_that_does_not_fit_into_memory_is_one_line(tmp_path):
    """In a process that may have 6 GB of addresses and asks for 31 GB of pixels."""
    code = (
        "import torch\n"
        "from utils.stop import run_script\n"
        "run_script(lambda: torch.zeros(10_000, 1024, 1024, 3, dtype=torch.uint8))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30)),
    )
    assert done.returncode == 2 and done.stderr.startswith("error: out of memory")


@pytest.mark.parametrize("script", ("eval", "export", "tools.check"))
def test_a_script_imports_what_it_needs_by_itself(script):
    """In a new Python, where no other script has imported anything before it."""
    command = [sys.executable, "-m", script, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "usage" in done.stdout.lower(), done.stderr


@pytest.mark.parametrize(
    "command, encoding, code, printed",
    (("print('x\\n' * 99999)", "utf-8", 141, "x\n"), ("print('ø年')", "cp1252", 0, "\xf8?\n")),
)
def test_an_output_that_ends_or_lacks_letters_is_no_traceback(command, encoding, code, printed):
    script = f"from utils.stop import run_script; run_script(lambda: {command})"
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding=encoding, env=os.environ | dict(PYTHONIOENCODING=encoding),
    )  # fmt: skip
    assert process.stdout.readline() == printed
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == code


def test_a_script_runs_in_a_notebook_whose_output_is_no_file(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SystemExit) as end:
        stop.run_script(lambda: 0)
    assert end.value.code == 0


class Dies:
    """A dataset whose process ends at its third sample, and sleeps before that and the first."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index % 2 == 0:
            time.sleep(0.5)
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(1, 3, 1, 1), {}


@pytest.mark.parametrize("error", (ConnectionResetError, ConnectionRefusedError, EOFError))
def test_a_loader_that_dies_while_it_hands_over_a_batch_is_noticed(error):
    def batches():
        raise error
        yield

    with pytest.raises(stop.LoadingFailed):
        next(stop.read_batches(batches(), torch.device("cpu")))


@pytest.mark.parametrize("silence, read", ((9, 2), (0.3, 0)))
def test_a_loader_is_waited_for_but_not_when_it_is_dead_or_silent(monkeypatch, silence, read):
    monkeypatch.setattr(stop, "LOADER_TIMEOUT", silence)
    loader = torch.utils.data.DataLoader(
        Dies(),
        batch_size=None,
        num_workers=1,
        timeout=0.2,
        collate_fn=lambda sample: (sample[0], []),
    )
    batches, count = stop.read_batches(loader, torch.device("cpu")), 0
    with pytest.raises(UserError, match="died or hung .*--workers 0"):
        for _ in batches:
            count += 1
    assert count == read
