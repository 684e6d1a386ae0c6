"""The clinic: show a run with a bug built in, train it, and say where the bug is."""

import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

from data.text import UserError
from lesson.bugs import BUGS, copy_project, find_bug
from lesson.draw_clinic import FOLDER, draw_patient, load_symptoms
from lesson.runs import DATA, SAVE_FOLDER
from utils.files import must_be_new

LAST = 30  # iterations whose mean loss is shown
HEALTHY = 0


def visit(words, answer, train):
    """Lines about a patient: what it shows, whether a guess is right, or the answer.

    words: its number, and for a guess a file and the number of a line, as they were typed.
    """
    number, *guess = words or [""]
    if not number.isdigit() or int(number) not in (HEALTHY, *BUGS):
        raise UserError(f"clinic {number}: the patients are 1 to {len(BUGS)}, and 0 is healthy")
    number = int(number)
    if train:
        return train_patient(number)
    if number == HEALTHY or not (guess or answer):
        return show(number)
    return explain(number) if answer else [check_guess(number, guess)]


def show(number):
    """Lines of numbers, the patient's beside the healthy training's."""
    runs = [load_symptoms(path_of(patient)) for patient in (HEALTHY, number)]
    rows = {
        "box loss, first iteration": [run["box_loss"][0] for run in runs],
        f"box loss, mean of the last {LAST}": [mean_of_last(run["box_loss"]) for run in runs],
        "class loss, first iteration": [run["class_loss"][0] for run in runs],
        f"class loss, mean of the last {LAST}": [mean_of_last(run["class_loss"]) for run in runs],
        "best score in the pictures": [best_score(run["images"]) for run in runs],
        "AP50": [run["AP50"] for run in runs],
    }
    for kind in runs[0]["costs"]:
        rows[f"AP50 lost to: {kind}"] = [run["costs"][kind] for run in runs]
    yield f"{'':34}  healthy  patient {number}"
    for name, values in rows.items():
        yield f"{name:34}" + "".join(f"{value:9.3f}" for value in values)
    yield f"picture: {path_of(number).with_suffix('.png')}"


def mean_of_last(values):
    return sum(values[-LAST:]) / LAST


def best_score(images):
    """The best score of all detections in a patient's picture."""
    return max(score for image in images for *_, score in image["found"])


def path_of(number):
    """The file with a patient's symptoms; its picture lies beside it."""
    return FOLDER / f"{number}.json"


def explain(number):
    """Lines about a bug: where it is, the line before and after, and why it shows like this."""
    bug = BUGS[number]
    line_number, line, new_line = find_bug(bug)
    yield f"{bug.file}, line {line_number}"
    yield from (f"- {line.strip()}", f"+ {new_line.strip()}", "")
    yield textwrap.fill(" ".join(bug.answer.split()), width=100)


def check_guess(number, guess):
    """Whether a guess, a file and perhaps the number of a line, is right, in words."""
    bug = BUGS[number]
    line_number, *_ = find_bug(bug)
    if Path(guess[0]) != Path(bug.file):
        return f"no, {guess[0]} is as it should be"
    if len(guess) == 1:
        return f"yes, it is in {bug.file}; in which line?"
    if guess[1] != str(line_number):
        return f"the file is right, line {guess[1]} is not"
    return f"yes; python -m lesson clinic {number} --answer says why it shows like this"


def train_patient(number):
    """Train a patient in a copy of the project, and draw it -> lines about what it shows."""
    run = SAVE_FOLDER / f"clinic_{number}"
    must_be_new(run)
    with TemporaryDirectory() as folder:
        copy_project(Path(folder), BUGS.get(number))
        where = ["--root", str(DATA), "--save-folder", str(SAVE_FOLDER), "--name", run.name]
        for command in (
            ["train.py", "--recipe", "lesson/recipe_clinic.py", *where],
            ["-m", "lesson.symptoms", str(run)],
        ):
            if subprocess.run([sys.executable, *command], cwd=folder).returncode:
                raise UserError(f"patient {number} could not be trained; delete {run} to try again")
    healthy = load_symptoms(path_of(HEALTHY))
    picture = run / "symptoms.png"
    draw_patient(picture, load_symptoms(run / "symptoms.json"), healthy, number)
    return [f"picture: {picture}"]
