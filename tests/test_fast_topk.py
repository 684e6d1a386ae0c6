import pytest
import torch

from layers.detections import topk_per_level
from layers.fast_topk import CHUNK_SIZE, fast_topk_per_level
from tests.test_detections import found_in, random_predictions


@pytest.mark.parametrize("piece", (7, 64))
def test_how_many_priors_are_scored_at_a_time_changes_nothing(monkeypatch, piece):
    boxes, scores = random_predictions(priors=300, classes=4)
    whole = found_in(boxes, scores, pre_nms_topk=50)
    monkeypatch.setitem(CHUNK_SIZE, "cpu", piece)
    for name, value in found_in(boxes, scores, pre_nms_topk=50).items():
        assert torch.equal(value, whole[name])


@pytest.mark.parametrize("k", (1, 7, 500))
def test_the_fast_choice_per_level_is_that_of_the_plain_one(k):
    scores = torch.rand(300, 4)
    levels = [200, 95, 5]
    plain = topk_per_level(scores, torch.clone, levels, k)
    fast = fast_topk_per_level(scores, torch.clone, levels, k)
    for first, second in zip(plain, fast):
        assert torch.equal(first, second)
    prior, label, score = plain
    assert torch.equal(scores[prior, label], score)
