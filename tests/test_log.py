import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from utils.log import FIRST_ITERATIONS, Log, draw_curves, forget_after, read_log, running_mean
from utils.recipes import RECIPES

OPTIMIZER = torch.optim.SGD([torch.zeros(1)], 0.1)


def step(log, iteration, values, optimizer):
    """An iteration with a batch of one image."""
    next(log.timed([(torch.zeros(1, 1), [])]))
    log.step(iteration, values, optimizer)


def write(path, *lines):
    path.write_bytes(b"".join(lines))
    return path


def entry(iteration):
    return (
        json.dumps(dict(iteration=iteration, box_loss=1.0, class_loss=2.0, lr=0.1)).encode() + b"\n"
    )


@pytest.mark.parametrize("broken", (b"\n", b"{\n", b"\0\0\0\n", b"\xff\xfe\n", b"3\n", b"{}\n"))
def test_a_line_that_is_no_entry_is_left_out(tmp_path, broken):
    path = write(tmp_path / "log.jsonl", entry(1), broken, entry(2))
    assert [item["iteration"] for item in read_log(path)] == [1, 2]


def test_a_line_cut_short_is_left_out(tmp_path):
    path = write(tmp_path / "log.jsonl", entry(1), entry(2)[:-5])
    assert [item["iteration"] for item in read_log(path)] == [1]


def test_what_came_after_a_checkpoint_is_cut_off(tmp_path):
    path = write(tmp_path / "log.jsonl", entry(1), entry(2), entry(2), entry(3), b'{"iter')
    forget_after(path, 2)
    assert path.read_bytes() == entry(1) + entry(2) + entry(2)
    forget_after(path, 0)
    assert path.read_bytes() == b""


def test_a_resumed_run_replaces_what_came_after_its_checkpoint_when_it_happens_again(tmp_path):
    before = entry(1) + entry(2) + entry(3)
    path = write(tmp_path / "log.jsonl", before)
    for iterations in (), (2, 3):
        log = Log(tmp_path, RECIPES["shapes"] | dict(log_every=1), per_epoch=100, start=1)
        assert path.read_bytes() == before, "it may stop before its first line"
        for iteration in iterations:
            step(log, iteration, dict(box_loss=9.0, class_loss=2.0, lr=0.1), OPTIMIZER)
        log.__exit__()
    assert [item["box_loss"] for item in read_log(path)] == [1, 9, 9]


def test_the_end_of_a_training_that_goes_on_is_cut_off_too(tmp_path):
    """Its last entry is about the best checkpoint, whose iteration may be an early one."""
    end = json.dumps(dict(iteration=1, train_AP50=0.5)).encode() + b"\n"
    path = write(tmp_path / "log.jsonl", entry(1), entry(2), entry(3), end)
    forget_after(path, 3)
    assert path.read_bytes() == entry(1) + entry(2) + entry(3)
    path = write(path, entry(1), entry(2), entry(3), end)
    forget_after(path, 2)
    assert path.read_bytes() == entry(1) + entry(2)


def test_only_finite_numbers_are_shown(tmp_path):
    """A browser cannot read JSON with Infinity in it, such as the norm of a step in float16."""
    log = Log(tmp_path, RECIPES["shapes"], per_epoch=100)
    points = []
    log.watchers = [SimpleNamespace(points=lambda *point: points.append(point))]
    log.show("train", 1, dict(loss=1.0, grad_norm=math.inf, AP=math.nan))
    assert points == [("train", 1, dict(loss=1.0))]


def test_a_log_that_is_not_there_is_empty(tmp_path):
    assert read_log(tmp_path / "log.jsonl") == []


def test_curves_are_drawn_of_any_log(tmp_path):
    for lines in ((), (entry(1),), (entry(1), b'{"iteration": 1, "AP": null}\n')):
        log = write(tmp_path / "log.jsonl", *lines)
        draw_curves(log.with_name("curves.png"), read_log(log))
        assert (tmp_path / "curves.png").stat().st_size > 1000


def test_without_a_terminal_each_line_says_where_it_stands_and_how_long_the_rest_takes(
    tmp_path, capsys, monkeypatch
):
    now = [0]
    monkeypatch.setattr("utils.log.time.perf_counter", lambda: now[0])
    recipe = RECIPES["shapes"] | dict(iterations=21, log_every=3, batch=1)
    log = Log(tmp_path, recipe, per_epoch=100)
    for iteration in range(1, 7):
        now[0] += 12
        step(log, iteration, dict(box_loss=1.0, class_loss=2.0, lr=0.1), OPTIMIZER)
    log.__exit__()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("iteration")]
    assert lines[0].startswith("iteration 3 of 21: ") and lines[0].endswith("  03:36 to go")
    # 15 iterations are left after the sixth, of 12 seconds each.
    assert lines[1].endswith("  03:00 to go")


def test_the_loss_of_an_epoch_is_the_mean_of_all_its_iterations(tmp_path, monkeypatch):
    """Also of those that the log has no line of."""
    log = Log(tmp_path, RECIPES["shapes"] | dict(iterations=8, log_every=2), per_epoch=4)
    log.watchers = ["visdom"]
    shown = []
    monkeypatch.setattr(log, "show", lambda *point: shown.append(point))
    for iteration in range(1, 9):
        values = dict(box_loss=torch.tensor(100.0 * (iteration == 1)), class_loss=1.0, lr=0.1)
        step(log, iteration, values, OPTIMIZER)
    epochs = [(iteration, values) for _, iteration, values in shown if "epoch_loss" in values]
    assert epochs == [(4, dict(epoch_loss=26.0)), (8, dict(epoch_loss=1.0))]


def test_the_loss_of_an_epoch_that_a_resume_cut_is_the_mean_of_its_rest(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(Log, "show", lambda log, split, iteration, values: shown.append(values))
    log = Log(tmp_path, RECIPES["shapes"] | dict(log_every=100), per_epoch=4, start=2)
    log.watchers = ["visdom"]
    for iteration in range(3, 9):
        step(log, iteration, dict(box_loss=torch.tensor(1.0), class_loss=2.0, lr=0.1), OPTIMIZER)
    log.__exit__()
    assert shown == [dict(epoch_loss=3.0)] * 2


def test_without_a_watcher_the_loss_of_an_epoch_is_not_summed(tmp_path):
    """Reading it would make the program wait for a GPU."""
    log = Log(tmp_path, RECIPES["shapes"] | dict(log_every=100), per_epoch=1, start=50)
    unread = object()
    step(log, 51, dict(box_loss=unread, class_loss=unread, lr=0.1), OPTIMIZER)
    log.__exit__()
    assert log.epoch_loss == 0


def test_what_is_no_finite_number_is_none_in_the_log(tmp_path):
    log = Log(tmp_path, RECIPES["shapes"] | dict(iterations=1, log_every=1), per_epoch=100)
    step(log, 1, dict(box_loss=1.0, class_loss=2.0, lr=0.1, grad_norm=math.inf), OPTIMIZER)
    log.__exit__()
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["grad_norm"] is None and "Infinity" not in line


def steps_in_log(folder, monkeypatch, sizes, iterations, **changes):
    """The relative steps that a log writes, where those of all iterations are these."""
    sizes = iter(map(torch.tensor, sizes))
    monkeypatch.setattr("utils.log.relative_step", lambda optimizer: next(sizes))
    log = Log(folder, RECIPES["shapes"] | changes, per_epoch=1000)
    for iteration in iterations:
        step(log, iteration, dict(box_loss=1.0, class_loss=2.0, lr=0.1), OPTIMIZER)
    log.__exit__()
    assert next(sizes, None) is None, "all were asked for"
    return [item["relative_step"] for item in read_log(log.path)]


def test_a_line_holds_the_largest_step_since_the_one_before(tmp_path, monkeypatch):
    sizes = (0.1, 0.9, 0.2, 0.3, 0.1, 0.4)
    values = steps_in_log(tmp_path, monkeypatch, sizes, range(1, 7), log_every=2)
    assert values == pytest.approx([0.9, 0.3, 0.4])


def test_a_resumed_log_knows_the_steps_since_its_last_line(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.log.relative_step", lambda optimizer: torch.tensor(0.1))
    log = Log(tmp_path, RECIPES["shapes"] | dict(log_every=5), 1000, start=3, largest_step=0.7)
    for iteration in range(4, 11):
        step(log, iteration, dict(box_loss=1.0, class_loss=2.0, lr=0.1), OPTIMIZER)
    log.__exit__()
    assert [item["relative_step"] for item in read_log(log.path)] == pytest.approx([0.7, 0.1])


def test_later_on_only_the_steps_of_lines_are_measured(tmp_path, monkeypatch):
    iterations = range(FIRST_ITERATIONS + 1, FIRST_ITERATIONS + 41)
    values = steps_in_log(tmp_path, monkeypatch, [0.5] * 4, iterations, log_every=10)
    assert values == [0.5] * 4


def test_a_running_mean_keeps_a_line_and_calms_noise():
    line = np.arange(200.0)
    np.testing.assert_allclose(running_mean(line)[10:-10], line[10:-10])
    noise = np.random.default_rng(0).normal(size=400)
    assert running_mean(noise).std() < 0.4 and abs(running_mean(noise).mean()) < 0.1
    assert running_mean(np.array([3.0])).tolist() == [3]


def test_curves_are_drawn_of_any_log_also_an_empty_one(tmp_path):
    entries = [dict(iteration=i, box_loss=1 / i, class_loss=None, lr=0.1) for i in range(1, 60)]
    for name, log in (("empty", []), ("some", [*entries, dict(iteration=60, AP=0.5, AP50=None)])):
        draw_curves(tmp_path / f"{name}.png", log)
        assert Image.open(tmp_path / f"{name}.png").size == (1200, 320)


@pytest.mark.parametrize("name", ("log.jsonl", "curves.png"))
def test_curves_that_cannot_be_drawn_are_a_warning(tmp_path, capsys, name):
    log = Log(tmp_path, RECIPES["shapes"] | dict(iterations=1), per_epoch=100)
    (tmp_path / name).mkdir()
    log.__exit__()
    assert f"warning: {tmp_path / name}: cannot be" in capsys.readouterr().out


def test_all_panels_have_the_iterations_of_the_whole_run(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    entries = [dict(iteration=i, box_loss=1.0, lr=0.1) for i in range(1, 60)]
    draw_curves(tmp_path / "curves.png", [*entries, dict(iteration=60, AP=0.5)])
    limits = {axes.get_xlim() for axes in figures[0].axes}
    assert len(limits) == 1 and min(limits)[0] < 1 and max(limits)[1] > 60
