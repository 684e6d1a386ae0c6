"""Running the project's scripts as a user does, without waiting for PyTorch each time.

Python's fork server is a process that has imported the scripts and done nothing else. A copy of it
runs each script, which saves the seconds that importing takes. Tests of signals, of several
processes and of what a script imports start a new Python instead.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path

import pytest

from tests.conftest import ROOT

TIMEOUT = 1200  # seconds: a slow machine is no failure


def run_script(script, *arguments, code=0, cwd=ROOT):
    """Run a script of the project as a user does -> what it printed; its exit code must be the
    expected one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["train", "eval", "detect", "export", "tools.check"])
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("PYTHONPATH", str(ROOT))
        forkserver.ensure_running()
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]
        words = [script, *map(str, arguments)]
        process = context.Process(target=run_here, args=(words, cwd, outputs, dict(os.environ)))
        process.start()
        process.join(TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()
        printed = "".join(output.read_text() for output in outputs)
    assert process.exitcode == code, printed
    return printed


def run_here(words, cwd, outputs, environment):
    """Run a script in this process, which is its own, in a folder and with an environment: one of a
    room of ours, as tools/check.py, by its module's name, as tools.check."""
    for stream, output in zip((sys.stdout, sys.stderr), outputs):
        file = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream.fileno())
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    script = words[0]
    if "/" in script:
        sys.argv = words
        name = script.removesuffix(".py").replace("/", ".")
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [str(ROOT / script), *words[1:]]
        runpy.run_path(sys.argv[0], run_name="__main__")
