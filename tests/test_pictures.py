import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from data.dataset import Dataset
from tests.conftest import read_split, write_coco
from tests.test_errors import NAMES, RECORDS, scene
from tests.test_metrics import detected
from utils.evaluation import pictures
from utils.evaluation.errors import FALSE_ALARM, WRONG_CLASS, find_errors


def dataset_of(folder):
    """Three images of 96 x 64: a cat and a dog, a cat, and none."""
    objects = [[(5, 5, 20, 20, 0), (50, 20, 30, 30, 1)], [(10, 10, 40, 40, 0)], []]
    write_coco(folder, objects)
    return Dataset(*read_split("coco", folder), None)


def test_ignored_objects_are_not_drawn_as_truth(tmp_path):
    dataset = dataset_of(tmp_path)
    detections = {image: detected() for image in range(3)}
    sheet = pictures.prediction_sheet(dataset, detections, 0.5)
    dataset.records.ignore[0] = True
    without = pictures.prediction_sheet(dataset, detections, 0.5)
    dataset.records.boxes[0] = 0
    assert (sheet != without).any()
    assert (without == pictures.prediction_sheet(dataset, detections, 0.5)).all()


def test_the_most_certain_come_first_and_one_of_an_image(tmp_path):
    dataset = dataset_of(tmp_path)
    alarms = detected((70, 2, 90, 12, 0.9, 0), (2, 50, 12, 60, 0.8, 0))
    detections = {
        0: alarms,
        1: detected((70, 40, 90, 60, 0.95, 1)),
        2: detected((1, 1, 9, 9, 0.2, 0)),
    }
    errors = find_errors(dataset.records, detections)
    worst = pictures.worst_detections(errors, FALSE_ALARM, 4)
    assert errors.images[worst].tolist() == [1, 0, 2]
    np.testing.assert_allclose(errors.scores[worst], [0.95, 0.9, 0.2], atol=1e-6)


def test_the_largest_missed_objects_come_first(tmp_path):
    dataset = dataset_of(tmp_path)
    errors = find_errors(dataset.records, {0: detected((50, 20, 80, 50, 0.9, 1))})
    rows = pictures.largest_missed(dataset.records, errors, 4)
    assert dataset.records.boxes[rows].tolist() == [[10, 10, 50, 50], [5, 5, 25, 25]]


def test_the_sheet_has_a_row_for_each_kind_that_there_is(tmp_path):
    dataset = dataset_of(tmp_path)
    detections = {
        0: detected((5, 5, 25, 25, 0.9, 1)),
        1: detected(),
        2: detected((1, 1, 9, 9, 0.2, 0)),
    }
    errors = find_errors(dataset.records, detections)
    assert (errors.kinds == WRONG_CLASS).sum() == 1
    sheet = pictures.mistake_sheet(dataset, detections, errors)
    rows = round(sheet.shape[0] / (pictures.SIDE + 4))
    assert rows == 3, "certain of nothing, wrong class, missed"


def test_without_a_mistake_there_is_no_sheet(tmp_path):
    dataset = dataset_of(tmp_path)
    truth = {0: detected((5, 5, 25, 25, 0.9, 0), (50, 20, 80, 50, 0.9, 1))}
    truth[1] = detected((10, 10, 50, 50, 0.8, 0))
    assert pictures.mistake_sheet(dataset, truth, find_errors(dataset.records, truth)) is None


def test_a_box_at_the_border_of_a_tiny_image_is_shown():
    image = np.zeros((4, 9, 3), np.uint8)
    box = (0, 0, 9, 4)
    cell = pictures.cell(image, box, [(box, (255, 0, 0))], "a.jpg", "text")
    assert cell.shape == (320, 320, 3) and (cell == (255, 0, 0)).all(axis=2).any()


@pytest.mark.parametrize("box", ((0, 4, 0, 4), (9, 0, 9, 4), (9, 4, 9, 4), (0, 0, 9, 0)))
def test_a_detection_without_an_area_is_shown(box):
    """An image's border cuts off what lies outside of it."""
    image = np.zeros((4, 9, 3), np.uint8)
    assert pictures.cell(image, np.float32(box), [], "a.jpg", "text").shape == (320, 320, 3)


def test_the_confusion_matrix_counts_hits_wrong_classes_alarms_and_misses():
    detections = {
        0: detected((0, 0, 20, 20, 0.9, 1), (50, 50, 90, 90, 0.8, 1), (0, 60, 20, 80, 0.7, 0)),
        1: detected((10, 10, 70, 70, 0.9, 0), (0, 0, 5, 5, 0.1, 0)),
    }
    matrix = pictures.confusion_matrix(2, find_errors(RECORDS, detections), threshold=0.5)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_precision_and_recall_of_known_detections():
    hits = (0, 0, 20, 20, 0.9, 0), (50, 50, 90, 90, 0.7, 1)
    detections = {0: detected(*hits, (0, 60, 9, 80, 0.8, 0))}
    precision, recall = pictures.precision_recall(find_errors(RECORDS, detections))
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [1 / 4, 1 / 4, 2 / 4])


@pytest.mark.parametrize("empty", (False, True))
def test_the_picture_is_drawn_of_any_detections(tmp_path, empty):
    records, detections = scene("class", "missed", images=5)
    if empty:
        detections = {}
    threshold = math.nan if empty else 0.4
    errors = find_errors(records, detections)
    pictures.draw_quality(tmp_path / "a.png", NAMES, records, errors, threshold)
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_names_of_classes_are_drawn_as_they_are(tmp_path):
    """Two dollar signs are no formula, and what begins with an underscore is in the legend."""
    records, detections = scene("class", "missed", images=5)
    names = ["$1_and_$5", "_x", *NAMES[2:]]
    errors = find_errors(records, detections)
    pictures.draw_quality(tmp_path / "a.png", names, records, errors, 0.4)
    axes = Figure().subplots()
    pictures.draw_precision(axes, names, errors)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [text.split()[-1] for text in legend[:2]] == names[:2]
