import time
from functools import partial

import pytest
import torch

from tools import bench, workloads
from utils.recipes import shapes, ssd300_voc

CPU = torch.device("cpu")


@pytest.fixture
def report():
    return bench.Report(CPU, seconds=0)


def test_functions_take_turns_and_are_reported_as_ratios(report, capsys):
    turns = []
    report.compare(
        "title", dict(floor=lambda: turns.append("floor"), ours=lambda: turns.append("ours"))
    )
    assert turns == ["floor", "ours"] * 4
    floor, ours = report.rows
    assert (floor["work"], ours["work"], ours["against"]) == ("floor", "ours", "floor")
    assert ours["times"] == pytest.approx(ours["seconds"] / floor["seconds"])
    assert "times floor" in capsys.readouterr().out


def test_the_median_counts_and_the_first_call_does_not(monkeypatch):
    now = [0]
    monkeypatch.setattr(bench, "clock", lambda device: sum(now))
    durations = iter([50, 1, 5, 10])
    measured = bench.median_seconds(dict(ours=lambda: now.append(next(durations))), CPU, 0)
    assert measured == dict(ours=5)


def test_of_several_calls_in_a_row_the_mean_counts(monkeypatch):
    now = [0]
    monkeypatch.setattr(bench, "clock", lambda device: sum(now))
    measured = bench.median_seconds(dict(ours=lambda: now.append(2)), CPU, 0, calls=5)
    assert measured == dict(ours=2) and len(now) == 1 + 1 + 3 * 5


def test_images_per_second_are_those_of_all_images(report, capsys):
    seconds = report.compare("title", dict(ours=lambda: time.sleep(0.01)), images=8)
    assert report.rows[0]["images_per_second"] == pytest.approx(8 / seconds["ours"])
    assert "images/s" in capsys.readouterr().out


def test_a_title_is_printed_once_above_its_lines(report, capsys):
    report.add("title", "first", value=1)
    report.add("title", "second", value=2)
    report.add("other", "third", value=3)
    assert capsys.readouterr().out.split() == ["title", "first", "second", "other", "third"]
    assert report.rows[1] == dict(title="title", value=2)


def test_peak_memory_is_what_tensors_take_at_once():
    def work():
        a = torch.zeros(1000, 1000)
        del a
        return torch.zeros(2000, 1000) + 1

    assert bench.peak_memory(work, CPU) == pytest.approx(16e6, rel=0.01)


def test_a_step_changes_the_weights_and_the_bare_network_does_not():
    batch = workloads.random_batch(2, (64, 64), CPU)
    bare, step = workloads.training_step(shapes | dict(precision="float32"), *batch)
    model = step.__closure__[step.__code__.co_freevars.index("model")].cell_contents
    before = model.base.conv1.weight.clone()
    bare()
    assert torch.equal(model.base.conv1.weight, before)
    step()
    assert not torch.equal(model.base.conv1.weight, before)


def test_torchvision_and_the_floor_do_a_training_step_too():
    recipe = bench.DETECTORS["RetinaNet-50"][0] | dict(depth=18)
    functions = workloads.training_steps(recipe, *workloads.random_batch(1, (64, 64), CPU))
    assert list(functions) == ["floor", "ours", "ours_in_float32", "torchvision"]
    for function in functions.values():
        function()


def test_images_are_read_and_augmented():
    with workloads.photo_files(2) as records:
        reading = workloads.reading(records)
        assert len(reading["floor"]()) == 2
        ((images, targets),) = reading["ours"]()
        assert len(images) == len(targets) == 2
        for function in workloads.augmenting(records).values():
            assert len(function()) == 2


def test_processes_load_batches():
    recipe = ssd300_voc | dict(batch=4, workers=1)
    with workloads.photo_files(8) as records:
        load = workloads.loading(recipe, records, CPU, count=2)
        for _ in range(2):
            images, targets = load()
            assert images.shape == (4, 3, 300, 300) and len(targets) == 4


def test_pycocotools_is_the_floor_of_an_evaluation(capsys):
    functions = workloads.evaluation(images=20, found=10)
    assert list(functions) == ["floor", "ours"]
    metrics, _, _ = functions["ours"]()
    assert functions["floor"]()[0] == metrics["AP"]
    assert not capsys.readouterr().out


def test_every_part_has_a_name():
    names = {"loader", "feed", "step", "loss", "detections", "eval", "infer", "memory"}
    assert next(iter(bench.PARTS)) == "memory" and set(bench.PARTS) == names


def test_the_limits_of_a_gpu_are_told(report, monkeypatch, capsys):
    """The lines that only a GPU runs, with a CPU in its place."""
    for name, value in dict(reset_peak_memory_stats=None, max_memory_allocated=2**30).items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr(bench, "matrix_flops", partial(bench.matrix_flops, "cpu", side=64))
    recipe = shapes | dict(base_width=64, channels=64)
    bare, step = workloads.training_step(recipe, *workloads.random_batch(2, (64, 64), CPU))
    bench.add_gpu_limits(report, "limits", dict(floor=bare, ours=step), dict(ours=1))
    assert report.rows[0]["flops"] > 1e9 and report.rows[0]["matrix_flops"] > 0
    assert "1.0 GiB; no synchronisation" in capsys.readouterr().out

    def waiting():
        raise RuntimeError("called a synchronizing CUDA operation")

    bench.add_gpu_limits(report, "limits", dict(floor=bare, ours=waiting), dict(ours=1))
    assert "synchronizing" in report.rows[1]["synchronisation"]
    assert modes == ["error", "default"] * 2
