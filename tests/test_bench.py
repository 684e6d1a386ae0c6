import time
from argparse import Namespace
from functools import partial

import pytest
import torch

from tools import bench, loading, measure, workloads
from utils.recipes import RECIPES

CPU = torch.device("cpu")
FLAGS = Namespace(device=CPU, compile=False, seconds=0)


def test_works_take_turns_and_are_told_as_ratios(capsys):
    turns = []
    rows = bench.compare(
        FLAGS, "title", floor=lambda: turns.append("floor"), ours=lambda: turns.append("ours")
    )
    assert turns == ["floor", "ours"] * 4 and [row["work"] for row in rows] == ["floor", "ours"]
    assert (
        rows[1]["times"] == pytest.approx(rows[1]["seconds"] / rows[0]["seconds"])
        and rows[1]["against"] == "floor"
    )
    assert "times floor" in capsys.readouterr().out


def test_shares_are_those_of_a_work_s_parts():
    def work(done):
        time.sleep(0.01)
        done("short")
        time.sleep(0.03)
        done("long")

    shares = measure.shares(work, CPU)
    assert (
        list(shares) == ["short", "long"]
        and sum(shares.values()) == pytest.approx(1)
        and shares["long"] > 0.6
    )


def test_peak_memory_is_what_tensors_take_at_once():
    def work():
        a = torch.zeros(1000, 1000)
        del a
        return torch.zeros(2000, 1000) + 1

    assert measure.peak_memory(work, CPU) == pytest.approx(16e6, rel=0.01)


def test_a_step_changes_the_weights_and_the_bare_one_does_not():
    step, bare = workloads.training_ours(RECIPES["shapes"], CPU, 2, (64, 64), precision="float32")
    model = step.__closure__[
        [name for name in step.__code__.co_freevars].index("model")
    ].cell_contents
    before = model.base.conv1.weight.clone()
    bare()
    assert torch.equal(model.base.conv1.weight, before)
    assert list(measure.shares(step, CPU)) == ["forward", "loss", "backward", "clip", "step"]
    assert not torch.equal(model.base.conv1.weight, before)


def test_the_loader_s_works_run():
    with loading.photographs(2) as records:
        for work in (*loading.reading(records).values(), *loading.augmenting(records).values()):
            assert len(work()) in (1, 2)


def test_what_is_ours_in_an_evaluation_is_counted_apart():
    seconds = workloads.time_evaluation(images=20, found=10)
    assert seconds["pycocotools"] > 0 and seconds["ours"] > 0


def test_every_part_has_a_name():
    assert next(iter(bench.PARTS)) == "memory" and set(bench.PARTS) == {
        "loader",
        "feed",
        "step",
        "loss",
        "detections",
        "eval",
        "infer",
        "memory",
        "shapes",
    }


@pytest.mark.long
def test_shapes_tells_what_a_run_reached():
    (row,) = bench.shapes(
        FLAGS, "--iters", "1", "--batch", "1", "--depth", "18", "--eval-every", "1"
    )
    assert row["iteration"] == 1 and row["AP"] >= 0 and row["seconds"] > 0


def test_the_limits_of_a_gpu_are_told(monkeypatch, capsys):
    """The lines that only a GPU runs, with a CPU in its place."""
    for name, value in dict(reset_peak_memory_stats=None, max_memory_allocated=2**30).items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr(measure, "matrix_speed", partial(measure.matrix_speed, "cpu", side=64))
    work = workloads.training_ours(RECIPES["shapes"], CPU, 2, (64, 64))
    assert measure.limits_of_a_gpu(*work, seconds=1)["flops"] > 1e9
    assert "1.0 GiB; no synchronisation" in capsys.readouterr().out

    def waiting(done=None):
        raise RuntimeError("called a synchronizing CUDA operation")

    limits = measure.limits_of_a_gpu(waiting, work[1], seconds=1)
    assert "synchronizing" in limits["synchronisation"] and modes == ["error", "default"] * 2


def test_a_loader_s_speed_counts_images_that_reached_the_device():
    recipe = RECIPES["ssd300_voc"] | dict(batch=4, workers=1)
    with loading.photographs(8) as records:
        assert loading.loading_speed(recipe, records, CPU, seconds=0) > 0
