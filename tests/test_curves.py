import numpy as np
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
