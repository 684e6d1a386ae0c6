from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.models import get_model_weights

from data.records import Entry, pack
from tests.conftest import write_image
from utils.predict import coco_results, detected_records, forward, plain_results, to_original
from utils.stop import is_out_of_memory


def found(source, *rows):
    """One image with detections (left, top, right, bottom, score, label)."""
    rows = np.array(rows, np.float64).reshape(-1, 6)
    labels = rows[:, 5].astype(int)
    names = [f"class {label}" for label in labels]
    return source, dict(boxes=rows[:, :4], scores=rows[:, 4], labels=labels, names=names)


IMAGE = dict(image="photos/000000000139.jpg")


def test_plain_results_say_class_score_and_corners():
    results = plain_results([found(IMAGE, (1, 2, 11, 22, 0.75, 1)), found(dict(image="empty"))])
    expected = {"class": "class 1", "score": 0.75, "box": [1.0, 2.0, 11.0, 22.0]}
    assert results == [IMAGE | expected]


def test_frames_of_a_video_are_told_apart():
    [result] = plain_results([found(dict(video="a.mp4", frame=7), (0, 0, 1, 1, 0.5, 0))])
    assert result["video"] == "a.mp4" and result["frame"] == 7


def test_coco_boxes_are_left_top_width_height_and_ids_the_number_in_the_name():
    [result] = coco_results([found(IMAGE, (1, 2, 11, 22, 0.75, 1))], ["a", "b"])
    assert result == dict(image_id=139, category_id=2, bbox=[1.0, 2.0, 10.0, 20.0], score=0.75)
    [result] = coco_results([found(dict(image="x/cat.jpg"), (0, 0, 1, 1, 0.5, 0))], ["a"])
    assert result["image_id"] == "cat.jpg"


def test_images_of_equal_names_and_frames_of_equal_numbers_have_coco_ids_of_their_own():
    images = [dict(image=name) for name in ("a/1.jpg", "b/1.jpg", "b/2.jpg")]
    frames = [dict(video=name, frame=7) for name in ("a.mp4", "b.mp4")]
    results = [found(source, (0, 0, 1, 1, 0.5, 0)) for source in images + frames]
    ids = [result["image_id"] for result in coco_results(results, ["a"])]
    assert ids == ["a/1.jpg", "b/1.jpg", 2, "a.mp4 7", "b.mp4 7"]


def test_coco_s_own_classes_have_coco_s_ids_with_their_gaps():
    listed = get_model_weights("retinanet_resnet50_fpn").COCO_V1.meta["categories"]
    names = [name for name in listed if name not in ("N/A", "__background__")]
    rows = [(0, 0, 1, 1, 0.5, label) for label in (0, 11, 79)]
    ids = [result["category_id"] for result in coco_results([found(IMAGE, *rows)], names)]
    assert ids == [1, 13, 90], "person, stop sign, toothbrush"


def test_an_image_that_no_memory_can_hold_is_refused_before_it_fills_the_memory():
    images = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(1, 3, 1 << 20, 1 << 20)
    with pytest.raises(RuntimeError) as refusal:
        forward(lambda images: pytest.fail("it began"), images, "float32")
    assert is_out_of_memory(refusal.value)


def test_boxes_that_clipping_leaves_nothing_of_are_no_detections():
    """As in the padding, which a published detector may see as a part of the image."""
    result = dict(
        boxes=torch.tensor([[300.0, 5, 330, 30], [10, 5, 30, 30], [-40, 5, -2, 30]]),
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.tensor([0, 1, 2]),
    )
    result = to_original(result, (100, 300), (200, 600))
    assert result["labels"].tolist() == [1] and result["boxes"].tolist() == [[20, 10, 60, 60]]


def test_equal_boxes_of_one_class_are_one_label(tmp_path):
    """Two boxes that reach beyond the image are equal when they are clipped."""
    write_image(tmp_path / "a.jpg", 50, 60)
    boxes = np.array([[0, 0, 60, 50], [0, 0, 60, 50], [0, 0, 60, 50]], np.float32)
    scores = np.array([0.9, 0.8, 0.7])
    image = dict(image=str(tmp_path / "a.jpg"))
    result = dict(boxes=boxes, scores=scores, labels=np.array([0, 0, 1]), names=["a", "a", "b"])
    records = detected_records([(image, result)], ["a", "b"])
    assert records.labels.tolist() == [0, 1] and records.scores.tolist() == [0.9, 0.7]


def test_images_of_several_splits_with_one_id_are_told_apart_by_their_paths(tmp_path):
    paths = [str(tmp_path / name) for name in ("train/a.jpg", "val/b.jpg")]
    entries = [Entry(path, (50, 60), 0, []) for path in paths]
    dataset = SimpleNamespace(records=pack(entries, ["a"]))
    results = [found(dict(image=path), (0, 0, 1, 1, 0.5, 0)) for path in paths]
    assert [row["image_id"] for row in coco_results(results, ["a"], dataset)] == paths
