"""Which exercises are solved, and what is wrong with the others?

A probe calls the learner's function and that of lesson/solutions with the same arguments. If the
outcomes differ, the known mistakes are tried, each a change in the text of the solution: one that
behaves like the learner's function on all probes is the cause, and so may be one that does so on
the first ones. If there is none, the first probe with another outcome is shown; lesson/mistakes has
the small probes first.
"""

import importlib
import inspect
import traceback
from copy import deepcopy
from itertools import combinations
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import NamedTuple

import torch

from data.text import UserError, read_text
from lesson.outcome import compare, describe

FOLDER = Path(__file__).parent
NAMES = tuple(
    "priors iou deltas match mining focal heads nms average_precision collate training crop".split()
)
SECONDS = 5  # that a call may take


class Probe(NamedTuple):
    """A call: what is special about it, the function's name, and the arguments."""

    name: str
    function: str
    arguments: tuple


class Mistake(NamedTuple):
    """A sentence that names the cause, and the changes (old, new) in the solution that make it."""

    sentence: str
    changes: tuple


class Verdict(NamedTuple):
    """How far an exercise is: a line, and the lines that say more."""

    line: str
    details: tuple = ()


def exercises(name=None, folder=FOLDER / "exercises"):
    """The lines that python -m lesson exercises prints, of all exercises or at length of one."""
    if name is None:
        lines = [f"{name:18} {diagnose(name, folder).line}" for name in NAMES]
        return [*lines, "", "More about one of them: python -m lesson exercises NAME"]
    if name not in NAMES:
        raise UserError(f"{name}: the exercises are {', '.join(NAMES)}")
    question = program(name)["__doc__"].splitlines()[0]
    verdict = diagnose(name, folder)
    return [f"{name}: {question}", "", f"  {verdict.line}", *verdict.details]


def diagnose(name, folder=FOLDER / "exercises"):
    """The verdict on an exercise's file in a folder."""
    path = folder / f"{name}.py"
    if not path.exists():
        return Verdict(f"there is no file {path}")
    answer = attempt(lambda: run_source(read_text(path), path))
    if isinstance(answer, BaseException):
        return Verdict(f"{path.name} cannot be imported: {describe_error(answer, path)}")
    functions = dict.fromkeys(probe.function for probe in mistakes_of(name).PROBES)
    verdicts = {function: diagnose_function(name, function, answer, path) for function in functions}
    for word, more in (("solved", "solutions"), ("not begun", "exercises")):
        if all(verdict.line == word for verdict in verdicts.values()):
            details = [line for verdict in verdicts.values() for line in verdict.details]
            return Verdict(word, (*details, "", f"  See lesson/{more}/{name}.py."))
    wrong = next(function for function in functions if verdicts[function].line != "solved")
    line, details = verdicts[wrong]
    return Verdict(f"{wrong}: {line}" if len(functions) > 1 else line, details)


def diagnose_function(name, function, answer, path):
    """The verdict on a function of an exercise, given the names in the learner's file."""
    if not callable(answer.get(function)):
        return Verdict(f"{path.name} has no function of the name {function}")
    solution = program(name)[function]
    probes = [probe for probe in mistakes_of(name).PROBES if probe.function == function]
    parameters = inspect.signature(solution).parameters
    calls = [dict(zip(parameters, probe.arguments)) for probe in probes]
    expected = [observe(solution, arguments) for arguments in calls]
    found = outcomes(answer[function], calls)
    problems = [compare(*pair) for pair in zip(expected, found)]
    first = next((i for i, problem in enumerate(problems) if problem), None)
    if first is None:
        return Verdict("solved")
    typed = ", ".join(f"{key}={describe(value)}" for key, value in calls[first].items())
    given = f"given {probes[first].name}"
    call = f"    {function}({typed})"
    if isinstance(found[0], NotImplementedError):
        result = f"    is {describe(expected[0]['the result'])}"
        return Verdict("not begun", (f"  For example, {given}:", call, result))
    problem = problems[first]
    if isinstance(found[first], BaseException):
        problem = describe_error(found[first], path)
    cause = find_cause(name, function, calls, found, first)
    if cause:
        return Verdict(cause, (f"  For example, {given}:", call, f"    {problem}"))
    return Verdict(f"{given}, {problem}", (call,))


def find_cause(name, function, calls, found, first):
    """The sentence of the mistake, or of two, that explains the outcomes of most calls, or "".

    Calls are explained from the smallest on, and the first one that went wrong must be among them.
    """
    if isinstance(found[0], BaseException):
        return ""  # What fails on the smallest call is broken in a way of its own.
    likely, most = "", first
    for count in (1, 2):
        for chosen in combinations(mistakes_of(name).MISTAKES, count):
            changes = [change for mistake in chosen for change in mistake.changes]
            wrong = attempt(program, name, *changes)
            if isinstance(wrong, BaseException):
                continue  # The two exclude each other.
            cause = " And: ".join(mistake.sentence for mistake in chosen)
            explained = count_explained(wrong[function], calls, found)
            if explained == len(calls):
                return cause
            if explained > most:
                likely, most = f"perhaps: {cause}", explained
    # Any error is like any other, so the mistakes that raise one explain little.
    return "" if isinstance(found[first], BaseException) else likely


def count_explained(function, calls, found):
    """How many calls of a function, from the first on, have these outcomes."""
    for number, (call, outcome) in enumerate(zip(calls, found)):
        if compare(attempt(observe, function, call), outcome):
            return number
    return len(calls)


def mistakes_of(name):
    """The module with the probes and the known mistakes of an exercise."""
    return importlib.import_module(f"lesson.mistakes.{name}")


def program(name, *changes):
    """The names in a solution's file after changes in its text."""
    path = FOLDER / f"solutions/{name}.py"
    source = path.read_text()
    for old, new in changes:
        if old not in source:
            raise LookupError(old)
        source = source.replace(old, new)
    return run_source(source, path)


def run_source(source, path):
    """The names that a program defines; its errors are reported as if it stood in the file."""
    module = ModuleType(path.stem)
    exec(compile(source, str(path), "exec"), vars(module))
    return vars(module)


def outcomes(function, calls):
    """What each call leads to, see observe, or the error that it raises."""
    found = []
    for arguments in calls:
        # A loop without an end goes on in its thread, and one is enough.
        is_lost = found and isinstance(found[-1], TimeoutError)
        found.append(found[-1] if is_lost else attempt(observe, function, arguments))
    return found


def observe(function, arguments):
    """All that a call does: its result, the gradient of that, and the arguments afterwards."""
    arguments = deepcopy(arguments)
    result = function(*arguments.values())
    outcome = {"the result": result}
    wanted = [value for value in arguments.values() if requires_grad(value)]
    if wanted and torch.is_tensor(result) and result.is_floating_point():
        # With 0 times it, there is a gradient even if the result does not depend on the argument.
        total = result.sum() + sum(0 * value.sum() for value in wanted)
        outcome["the gradient"] = torch.autograd.grad(total, wanted)[0]
    outcome |= {f"after the call, {name}": value for name, value in arguments.items()}
    # What NumPy cannot hold can be neither compared nor shown: here it is an error of the call.
    describe(outcome)
    return outcome


def requires_grad(value):
    """Whether it is a tensor whose gradient is compared."""
    return torch.is_tensor(value) and value.requires_grad


def attempt(function, *arguments):
    """What a function returns, or the error that it raises, or a TimeoutError."""
    outcome = [TimeoutError(f"it has not ended after {SECONDS} seconds")]

    def work():
        try:
            outcome[0] = function(*arguments)
        # A learner's program may raise anything, and that is its outcome.
        except BaseException as error:
            outcome[0] = error

    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return outcome[0]


def describe_error(error, path):
    """What was raised, and in which line of the learner's file."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    place = f"line {lines[-1]}: " if lines else ""
    message = str(error).strip().split("\n")[0]
    return f"{place}{type(error).__name__}: {message}"
