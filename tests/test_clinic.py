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
from lesson.recipe_clinic import recipe
from lesson.symptoms import CURVES, IMAGES, curves
from lesson.text import README
from tests.conftest import draw_shapes
from utils.log import read_log

PATIENTS = (visit.HEALTHY, *BUGS)
# The bugs of the others are in the evaluation, and their losses are the healthy ones.
IN_TRAINING = (8, 9, 10)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The training images of shapes, and a few to validate on."""
    return draw_shapes(tmp_path_factory.mktemp("data") / "shapes", train=1200, val=4)


def train_twice(folder, root):
    """Train for two iterations with the code in a folder: to be called in a fork."""
    ours = {room.split("/")[0] for room in ROOMS} | {path.stem for path in ROOT.glob("*.py")}
    for name in [name for name in sys.modules if name.split(".")[0] in ours]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    flags = f"--recipe lesson/recipe_clinic.py --iters 2 --warmup 50 --root {root} --name run"
    sys.argv = ["train.py", *flags.split(), "--save-folder", str(folder)]
    import train

    sys.exit(train.main())


@pytest.mark.long
@pytest.mark.parametrize("number", (visit.HEALTHY, *IN_TRAINING))
def test_a_patient_of_today_begins_as_the_curves_of_the_clinic_do(number, drawn, tmp_path):
    copy_project(tmp_path, BUGS.get(number))
    process = get_context("fork").Process(target=train_twice, args=(tmp_path, drawn))
    process.start()
    process.join()
    assert process.exitcode == 0
    first = curves(read_log(tmp_path / "run/log.jsonl"))
    symptoms = load_symptoms(FOLDER / f"{number}.json")
    for name in CURVES:
        assert first[name] == pytest.approx(symptoms[name][:2], rel=0.005)


def test_only_the_losses_of_those_with_a_bug_in_the_training_are_not_the_healthy_ones():
    runs = {number: load_symptoms(FOLDER / f"{number}.json") for number in PATIENTS}
    differ = [
        number for number in PATIENTS if any(runs[number][name] != runs[0][name] for name in CURVES)
    ]
    assert differ == list(IN_TRAINING)


def test_too_large_steps_show_after_the_first_iteration_and_most_when_the_warm_up_ends():
    healthy, patient = (load_symptoms(FOLDER / f"{number}.json") for number in (0, 9))
    assert all(patient[name][0] == healthy[name][0] for name in CURVES)
    early, late = slice(0, recipe.warmup // 2), slice(recipe.warmup, None)
    assert sum(patient["class_loss"][early]) < sum(healthy["class_loss"][early])
    warm = max(patient["class_loss"][recipe.warmup // 2 : recipe.warmup])
    assert max(patient["class_loss"][late]) > 1.2 * warm
    for name in CURVES:
        assert visit.mean_of_last(patient[name]) > 1.2 * visit.mean_of_last(healthy[name])


def test_without_the_bias_only_the_class_loss_begins_dozens_of_times_higher():
    healthy, patient = (load_symptoms(FOLDER / f"{number}.json") for number in (0, 10))
    assert patient["box_loss"][0] == healthy["box_loss"][0]
    assert patient["class_loss"][0] > 24 * healthy["class_loss"][0]
    ends = [visit.mean_of_last(run["class_loss"]) for run in (healthy, patient)]
    assert ends[0] < ends[1] < 1.25 * ends[0]


def test_the_text_counts_the_patients_and_shows_them_all():
    text = README.read_text()
    words = "one two three four five six seven eight nine ten".split()[: len(BUGS)]
    assert f"In each of the {words[-1]} runs" in text
    assert f"find {words[-1]} bugs" in (ROOT / "README.md").read_text()
    counts = f"{words[len(BUGS) - len(IN_TRAINING) - 1].capitalize()} of the {words[-1]} have"
    assert f"{counts} the healthy losses" in text
    for number, word in enumerate(words, start=1):
        assert f"[{word}](clinic/{number}.png)" in text


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
