"""The clinic's bugs are in today's code, its curves are theirs, and guesses are answered."""

import os
import sys
from multiprocessing import get_context

import pytest
from PIL import Image

import lesson.__main__ as lesson_main
from data.text import UserError
from lesson import visit
from lesson.bugs import BUGS, ROOMS, ROOT, copy_project, find_bug
from lesson.draw_clinic import FOLDER, draw_patient, load_symptoms
from lesson.symptoms import IMAGES
from tests.conftest import draw_shapes
from utils.log import read_log

PATIENTS = (visit.HEALTHY, *BUGS)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The training images of shapes, and a few to validate on."""
    return draw_shapes(tmp_path_factory.mktemp("data") / "shapes", train=1200, val=4)


def train_once(folder, root):
    """Train for an iteration with the code in a folder: to be called in a fork."""
    ours = {room.split("/")[0] for room in ROOMS} | {path.stem for path in ROOT.glob("*.py")}
    for name in [name for name in sys.modules if name.split(".")[0] in ours]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    flags = f"--recipe lesson/recipe_clinic.py --iters 1 --warmup 50 --root {root} --name run"
    sys.argv = ["train.py", *flags.split(), "--save-folder", str(folder)]
    import train

    sys.exit(train.main())


# The bugs of the others are in the evaluation, and their losses are the healthy ones.
@pytest.mark.long
@pytest.mark.parametrize("number", (visit.HEALTHY, 8))
def test_a_patient_of_today_begins_as_the_curves_of_the_clinic_do(number, drawn, tmp_path):
    copy_project(tmp_path, BUGS.get(number))
    process = get_context("fork").Process(target=train_once, args=(tmp_path, drawn))
    process.start()
    process.join()
    assert process.exitcode == 0
    first = read_log(tmp_path / "run/log.jsonl")[0]
    symptoms = load_symptoms(FOLDER / f"{number}.json")
    for name in ("box_loss", "class_loss"):
        assert first[name] == pytest.approx(symptoms[name][0], rel=0.005)


@pytest.mark.parametrize("number", BUGS)
def test_a_bug_is_a_part_of_a_single_line_of_ours(number, tmp_path):
    bug = BUGS[number]
    copy_project(tmp_path, bug)
    lines, ours = ((folder / bug.file).read_text().splitlines() for folder in (tmp_path, ROOT))
    changed = [i for i, pair in enumerate(zip(lines, ours), start=1) if pair[0] != pair[1]]
    assert changed == [find_bug(bug)[0]] and len(lines) == len(ours)
    compile("\n".join(lines), bug.file, "exec")


def test_a_copy_without_a_bug_is_the_project(tmp_path):
    copy_project(tmp_path)
    for path in tmp_path.rglob("*.py"):
        assert path.read_text() == (ROOT / path.relative_to(tmp_path)).read_text()
    assert (tmp_path / "train.py").exists()


def test_a_guess_is_answered_and_does_not_tell_more_than_it_asked():
    bug = BUGS[3]
    line = str(find_bug(bug)[0])
    for guess, start in (
        (["ssd.py"], "no"),
        ([bug.file], "yes"),
        ([bug.file, "1"], "the file is right"),
        ([bug.file, line], "yes"),
    ):
        (text,) = visit.visit(["3", *guess], False, False)
        assert text.startswith(start)
        assert line in guess or line not in text


def test_what_a_patient_shows_does_not_name_the_file():
    for number in PATIENTS:
        text = "\n".join(visit.visit([str(number)], False, False))
        assert "AP50" in text and f"{number}.png" in text
        assert not number or BUGS[number].file not in text


def test_an_answer_shows_the_line_before_and_after(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lesson", "clinic", "3", "--answer"])
    lesson_main.main()
    shown = capsys.readouterr().out
    _, line, new_line = find_bug(BUGS[3])
    assert BUGS[3].file in shown
    assert f"\n- {line.strip()}\n+ {new_line.strip()}\n" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("words", ([], ["11"], ["x"], ["-1"]))
def test_a_patient_who_is_not_there_is_an_error(words):
    with pytest.raises(UserError):
        list(visit.visit(words, False, False))


def test_the_pictures_are_there_and_small():
    pictures = sorted(FOLDER.glob("*.png"))
    assert {path.stem for path in pictures} == {str(number) for number in PATIENTS}
    assert all(Image.open(path).width == 800 for path in pictures)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000


def test_a_patient_is_drawn_from_its_symptoms(tmp_path, monkeypatch):
    root = draw_shapes(tmp_path / "shapes", train=1, val=1)
    monkeypatch.setattr("lesson.example.DATA", root)
    symptoms = load_symptoms(FOLDER / "1.json")
    # The image that was drawn stands for those that are shown.
    symptoms["images"] = [image | dict(index=0) for image in symptoms["images"]]
    draw_patient(tmp_path / "1.png", symptoms, symptoms, 1)
    assert Image.open(tmp_path / "1.png").width == 800


@pytest.mark.long
def test_a_patient_is_trained_in_a_copy_and_drawn(tmp_path, monkeypatch):
    def copy_with_short_recipe(folder, bug):
        copy_project(folder, bug)
        path = folder / "lesson/recipe_clinic.py"
        path.write_text(path.read_text().replace("iterations=300", "iterations=40"))

    monkeypatch.setattr(visit, "copy_project", copy_with_short_recipe)
    root = draw_shapes(tmp_path / "shapes", train=40, val=max(IMAGES) + 1)
    for module in ("visit", "example"):
        monkeypatch.setattr(f"lesson.{module}.DATA", root)
    monkeypatch.setattr(visit, "SAVE_FOLDER", tmp_path)
    (line,) = visit.visit(["8"], False, True)
    assert line.endswith("symptoms.png") and (tmp_path / "clinic_8/symptoms.png").exists()
    assert load_symptoms(tmp_path / "clinic_8/symptoms.json")["AP50"] < 0.1
    with pytest.raises(UserError, match="exists"):
        visit.visit(["8"], False, True)
