import math

import pytest

from tests.test_errors import NAMES, scene
from utils.evaluation import quality
from utils.evaluation.errors import explain


@pytest.mark.parametrize("empty", (False, True))
def test_the_picture_is_drawn_of_any_detections(tmp_path, empty):
    records, detections = scene("class", "missed", images=5)
    if empty:
        detections = {}
    threshold = math.nan if empty else 0.4
    explained = explain(records, detections)
    quality.draw_quality(tmp_path / "a.png", NAMES, records, explained, threshold)
    assert (tmp_path / "a.png").stat().st_size > 10_000
