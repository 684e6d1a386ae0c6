import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from utils.curves import draw_curves, running_mean


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


def test_a_folder_that_is_gone_is_a_warning(tmp_path, capsys):
    draw_curves(tmp_path / "gone/curves.png", [])
    assert "cannot be written" in capsys.readouterr().out


def test_all_panels_have_the_iterations_of_the_whole_run(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    entries = [dict(iteration=i, box_loss=1.0, lr=0.1) for i in range(1, 60)]
    draw_curves(tmp_path / "curves.png", [*entries, dict(iteration=60, AP=0.5)])
    limits = {axes.get_xlim() for axes in figures[0].axes}
    assert len(limits) == 1 and min(limits)[0] < 1 and max(limits)[1] > 60
