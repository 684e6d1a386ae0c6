"""What a script does with mistakes, bugs and too little memory."""

import resource
import subprocess
import sys

import pytest
import torch

from data.errors import UserError
from tests.conftest import ROOT
from utils.script import run_script


def ended_with(error, capsys):
    """The exit code and what was printed of a script that raises an error."""

    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        run_script(main)
    return end.value.code, capsys.readouterr().err


def test_a_mistake_is_one_line_and_exit_code_2(capsys):
    assert ended_with(UserError("no such file"), capsys) == (2, "error: no such file\n")


@pytest.mark.parametrize(
    "error",
    (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
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
        run_script(main)


def test_a_batch_that_does_not_fit_into_memory_is_one_line(tmp_path):
    """In a process that may have 6 GB of addresses and asks for 31 GB of pixels."""
    code = (
        "import torch\n"
        "from utils.script import run_script\n"
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
