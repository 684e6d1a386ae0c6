from types import SimpleNamespace

import pytest

from data.text import UserError
from lesson import runs


@pytest.mark.parametrize("name", runs.RECIPES)
def test_a_quick_training_is_a_tenth_as_long_and_has_a_folder_of_its_own(name):
    whole, quick = (runs.lesson_recipe(name, quick) for quick in (False, True))
    assert quick.iterations == whole.iterations // 10
    assert quick.iterations // quick.save_every == whole.iterations // whole.save_every


@pytest.mark.parametrize("quick", (False, True))
def test_what_is_typed_to_train_is_what_is_expected_of_the_run(tmp_path, monkeypatch, quick):
    typed = []

    def refuse(command, cwd):
        typed.extend(command)
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(runs, "SAVE_FOLDER", tmp_path)
    monkeypatch.setattr(runs.subprocess, "run", refuse)
    with pytest.raises(UserError, match="python -m lesson goes on with it"):
        runs.run_folder("ssd", quick)
    assert ("lesson_ssd_quick" in typed) == quick == ("--iters" in typed)
    if quick:
        assert typed[typed.index("--iters") + 1] == str(runs.lesson_recipe("ssd", quick).iterations)
