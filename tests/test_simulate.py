"""Trainings on a computer that fails lose nothing, and say what happened."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.long
def test_trainings_of_some_seeds_end_as_if_undisturbed_or_say_why():
    command = [sys.executable, "-m", "tests.simulate", "--seeds", "0", "40"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
