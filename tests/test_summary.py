import numpy as np
import torch

from data import summary
from data.dataset import Dataset
from data.transforms import Resize, Stretch
from layers.boxes import iou
from layers.priors import pyramid_priors
from retinanet import prior_levels
from tests.conftest import make_records, read_split, write_coco

OBJECTS = [[(10, 20, 30, 40, 1)], [], [(0, 0, 50, 50, 0), (5, 5, 9, 9, 1)]]
LEVELS = prior_levels()


def test_the_best_overlap_is_that_with_all_priors():
    corner, size = (
        np.random.default_rng(0).uniform((0, 4), (180, 70), (200, 2)).T.reshape(2, 100, 2)
    )
    boxes = np.concatenate([corner, corner + size], axis=1)
    expected = iou(torch.from_numpy(boxes).float(), pyramid_priors((256, 256), LEVELS)).amax(dim=1)
    np.testing.assert_allclose(summary.best_overlap(boxes, LEVELS), expected, atol=1e-4)


def test_the_summary_counts_and_advises(tmp_path):
    write_coco(tmp_path, OBJECTS, ids=(3, 17))
    dataset = Dataset(*read_split("coco", tmp_path), Resize(64, 96))
    text = "\n".join(summary.summary(dataset, LEVELS))
    assert text.startswith("3 images, 3 objects of 2 classes; at most 2 in an image, none in 1\n")
    assert "cat 1  dog 2" in text and "3 to 17, have gaps" in text and "advice" in text


def test_objects_to_ignore_are_not_counted_in_their_images():
    crowd = (1, 1, 30, 30, "cat", True)
    cat = (1, 1, 30, 30, "cat")
    records = make_records([((64, 96), [crowd, (9, *crowd[1:])]), ((64, 96), [cat])])
    first = next(summary.summary(Dataset(["cat"], records, Resize(64, 96)), LEVELS))
    expected = "2 images, 1 object of 1 class, 2 to ignore; at most 1 in an image, none in 1"
    assert first == expected


def test_classes_without_objects_are_counted_and_many_classes_take_short_lines(tmp_path):
    names = [f"class number {i}" for i in range(80)]
    write_coco(tmp_path, [[(1, 1, 40, 40, i)] for i in range(20)], names=names, ids=range(1, 81))
    dataset = Dataset(*read_split("coco", tmp_path, names=names), Resize(64, 96))
    lines = list(summary.summary(dataset, LEVELS))
    assert any(line.startswith("no objects of: ") and "and 55 more" in line for line in lines)
    assert max(map(len, lines[1].splitlines())) <= 100
    assert "class number 19 1" in lines[1] and " 0" not in lines[1].replace("number 0", "")


def test_sizes_are_those_the_network_sees(tmp_path):
    write_coco(tmp_path, OBJECTS)
    dataset = Dataset(*read_split("coco", tmp_path), Stretch((128, 96)))
    np.testing.assert_allclose(summary.resized_boxes(dataset)[0], [10, 40, 40, 120])


def test_small_objects_are_sent_to_the_finer_level(tmp_path):
    for side, expected in ((8, True), (60, False)):
        folder = tmp_path / f"{side}"
        write_coco(folder, [[(1, 1, side, side, 0)]] * 3)
        dataset = Dataset(*read_split("coco", folder), Resize(64, 96))
        lines = summary.reach_lines(summary.resized_boxes(dataset), prior_levels((32,)))
        assert ("--finest-stride 4" in " ".join(lines)) == expected
    finer = prior_levels((16, 32), finest=4)
    assert "--finest-stride" not in " ".join(summary.reach_lines(np.array([[0, 0, 4, 4.0]]), finer))


def test_sizes_without_a_limit_are_said_to_be_over_the_last(tmp_path):
    boxes = np.array([[0, 0, 9, 9], [0, 0, 200, 200.0]])
    assert "0 to 16 px: 0% of 1, over 96 px: 100% of 1" in " ".join(
        summary.reach_lines(boxes, LEVELS)
    )
