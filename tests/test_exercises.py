"""The lesson's exercises: right answers are solved, and wrong ones are told what is wrong."""

import inspect
import os
import shutil
import subprocess
import sys

import pytest
import torch

from data.text import UserError
from lesson import diagnose as engine
from lesson.diagnose import FOLDER, NAMES, diagnose, exercises, mistakes_of, program, run_source
from tests.conftest import ROOT
from tests.other_answers import IMPORTS, RIGHT_ANSWERS, WRONG_ANSWERS

STUB = "def {}(*arguments):\n    raise NotImplementedError\n"


def functions_of(name):
    return dict.fromkeys(probe.function for probe in mistakes_of(name).PROBES)


def verdict(folder, name, source):
    """What is said of a program as the answer to an exercise."""
    (folder / f"{name}.py").write_text(source)
    return diagnose(name, folder)


def solution(name, *changes):
    source = (FOLDER / f"solutions/{name}.py").read_text()
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    return source


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_is_not_begun_then_solved(name, tmp_path):
    stubs = "".join(map(STUB.format, functions_of(name)))
    assert verdict(tmp_path, name, stubs).line == "not begun"
    assert verdict(tmp_path, name, solution(name)).line == "solved"


def test_the_solution_of_match_leaves_objects_without_a_prior_where_there_are_too_few():
    overlap = torch.tensor([[0.6, 0.1], [0.9, 0.2], [0.3, 0.7]])
    assert program("match")["match"](overlap, 0.5, 0.4).tolist() == [1, 2]


CASES = [(name, i) for name, answers in RIGHT_ANSWERS.items() for i in range(len(answers))]


@pytest.mark.parametrize("name, number", CASES)
def test_a_right_answer_of_another_form_is_solved(name, number, tmp_path):
    found = verdict(tmp_path, name, IMPORTS + RIGHT_ANSWERS[name][number])
    assert found.line == "solved", found


# These have the most mistakes, or the slowest probes.
LONG = ("deltas", "focal", "nms", "training")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in NAMES]
)
def test_every_known_mistake_is_called_by_its_name(name, tmp_path):
    for mistake in mistakes_of(name).MISTAKES:
        found = verdict(tmp_path, name, solution(name, *mistake.changes))
        assert found.line.endswith(mistake.sentence), (mistake.sentence, found)


def test_two_mistakes_in_one_answer_are_both_named(tmp_path):
    clamp, _, plus_one, *_ = mistakes_of("iou").MISTAKES
    found = verdict(tmp_path, "iou", solution("iou", *clamp.changes, *plus_one.changes))
    assert found.line == f"{clamp.sentence} And: {plus_one.sentence}"


@pytest.mark.parametrize("name, number, old, new, words", WRONG_ANSWERS)
def test_a_mistake_in_an_answer_of_another_form_is_recognised(
    name, number, old, new, words, tmp_path
):
    right = RIGHT_ANSWERS[name][number]
    assert old in right
    assert words in verdict(tmp_path, name, IMPORTS + right.replace(old, new)).line


def test_an_unknown_mistake_is_shown_on_the_smallest_call_that_it_spoils(tmp_path):
    found = verdict(tmp_path, "iou", solution("iou", ("/ (area", "* 1.2 / (area")))
    problem = "the result should be [[0.3333]], but is [[0.4]]"
    assert found.line == f"given two boxes that share a third, {problem}"
    assert found.details == ("    iou(boxes=[[0, 0, 10, 10]], others=[[5, 0, 15, 10]])",)


def test_a_known_mistake_beside_an_unknown_one_is_suspected(tmp_path):
    ignored, *_ = [
        m for m in mistakes_of("focal").MISTAKES if "counted as background" in m.sentence
    ]
    too_large = ("return (weight", "cost = cost.clamp(max=30)\n    return (weight")
    found = verdict(tmp_path, "focal", solution("focal", *ignored.changes, too_large))
    assert found.line == f"perhaps: {ignored.sentence}"


def test_of_two_functions_the_wrong_one_is_named(tmp_path):
    (mistake,) = [m for m in mistakes_of("deltas").MISTAKES if "infinite" in m.sentence]
    found = verdict(tmp_path, "deltas", solution("deltas", *mistake.changes))
    assert found.line.startswith("decode: ")
    half_done = solution(
        "deltas", ("    shift, stretch = deltas", "    raise NotImplementedError\n#")
    )
    assert verdict(tmp_path, "deltas", half_done).line == "decode: not begun"


@pytest.mark.parametrize(
    "source, line",
    [
        ("def IoU(boxes, others): ...", "iou.py has no function of the name iou"),
        (
            "import torhc",
            "cannot be imported: line 1: ModuleNotFoundError: No module named 'torhc'",
        ),
        ("def iou(boxes, others)\n    pass", "cannot be imported: line 1: "),
        ("exit()", "cannot be imported: line 1: SystemExit"),
        ("def iou(boxes, others): pass", "the result should be a tensor of floats, but is None"),
        ("def iou(boxes, others): return [[1.0]]", "tensor of floats, but is a list"),
        ("def iou(boxes, others): return boxes", "should have the shape [1, 1], but has [1, 4]"),
        ("def iou(boxes): return boxes", "TypeError: iou() takes 1 positional argument but 2"),
        ("def iou(a, b):\n    return 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("def iou(a, b): return a.bfloat16()", "TypeError: Got unsupported ScalarType BFloat16"),
        ("def iou(a, b): return [a.to_sparse()]", "TypeError: can't convert Sparse layout"),
        ("def iou(a, b):\n    while True: pass", "it has not ended after 0.5 seconds"),
    ],
)
def test_what_keeps_a_program_from_working_is_said_in_a_line(source, line, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "SECONDS", 0.5)
    found = verdict(tmp_path, "iou", source).line
    assert line in found and "\n" not in found


def test_a_file_of_another_encoding_is_said_to_be_so(tmp_path):
    (tmp_path / "iou.py").write_bytes("# é".encode("latin-1"))
    assert "iou.py cannot be imported" in diagnose("iou", tmp_path).line
    assert "not UTF-8 at byte 2" in exercises(folder=tmp_path)[NAMES.index("iou")]


@pytest.mark.parametrize("name", NAMES)
def test_what_always_fails_is_not_called_a_known_mistake(name, tmp_path):
    broken = "".join(f"def {name}(*arguments):\n    return spam\n" for name in functions_of(name))
    assert "line 2: NameError: name 'spam'" in verdict(tmp_path, name, broken).line


def test_a_changed_argument_is_noticed(tmp_path):
    changed = solution("iou", ("    shared = (", "    others += 1\n    shared = ("))
    assert "after the call, others should be" in verdict(tmp_path, "iou", changed).line


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_asks_for_what_its_solution_has(name):
    if diagnose(name).line != "not begun":
        return  # The reader's answer may differ.
    path = FOLDER / f"exercises/{name}.py"
    answer, right = run_source(path.read_text(), path), program(name)
    for function in functions_of(name):
        asked, has = (list(inspect.signature(x[function]).parameters) for x in (answer, right))
        assert asked == has and answer[function].__doc__
    assert answer["__doc__"].splitlines()[0] == right["__doc__"].splitlines()[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_is_explained_and_its_mistakes_have_a_sentence_each(name):
    assert len(program(name)["__doc__"].split()) > 60
    sentences = [mistake.sentence for mistake in mistakes_of(name).MISTAKES]
    assert len(set(sentences)) == len(sentences) >= 10
    assert all(sentence.endswith(".") for sentence in sentences)


def test_all_exercises_are_listed_and_an_unknown_one_is_refused():
    assert [line.split()[0] for line in exercises()[:12]] == list(NAMES)
    with pytest.raises(UserError, match="UIO: the exercises are priors, iou, "):
        exercises("UIO")


@pytest.mark.long
def test_solved_in_place_the_exercises_break_no_test(tmp_path):
    project = tmp_path / "project"
    left_out = shutil.ignore_patterns(".git", ".venv", "*.pth", "shapes", "__pycache__")
    shutil.copytree(ROOT, project, ignore=left_out)
    for name in NAMES:
        shutil.copy(FOLDER / f"solutions/{name}.py", project / f"lesson/exercises/{name}.py")

    def run(*command):
        env = os.environ | dict(OMP_NUM_THREADS="1")
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=project, capture_output=True, text=True, env=env
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run("lesson", "exercises").count("solved") == len(NAMES)
    # Those that read the exercises or what they link to.
    links = (
        "tests/test_lesson.py::test_every_link_resolves_and_every_linked_function_is_where_it_says"
    )
    run("pytest", "tests/test_exercises.py", "tests/test_house.py", links)
