import pytest

from data.dataset import Dataset
from tests.conftest import make_records, read_split, write_coco
from tests.test_metrics import detected
from utils.evaluation.suspects import Suspect, find_suspects, suspect_cell

CAT, DOG = (0, 0, 40, 40, "cat"), (50, 50, 90, 90, "dog")


def suspects(objects, *rows, threshold=0.5):
    """The suspects of an image with objects and detections (left, top, right, bottom, score,
    label)."""
    records = make_records([((100, 100), list(objects))], ["cat", "dog"])
    return find_suspects(Dataset(["cat", "dog"], records, None), {0: detected(*rows)}, threshold)


@pytest.mark.parametrize(
    "rows, expected",
    (
        ([(0, 0, 40, 40, 0.9, 1)], "dog 0.90, IoU 1.00"),  # a wrong class
        ([(20, 0, 60, 40, 0.9, 0)], "cat 0.90, IoU 0.33"),  # a box that was moved by half
        ([], "nothing"),  # an invented box
    ),
)
def test_a_box_that_is_not_detected_as_annotated_is_strangest(rows, expected):
    first, second = suspects([CAT, DOG], *rows, (50, 50, 90, 90, 0.8, 1))
    assert first.annotated == "cat" and first.detected == expected and first.strangeness == 1
    assert second.annotated == "dog" and second.strangeness == pytest.approx(0.2)


def test_a_sure_detection_without_a_box_is_a_suspect_once():
    rows = [(50, 50, 90, 90, 0.9, 1), (50, 50, 90, 92, 0.6, 0), (0, 60, 20, 80, 0.4, 0)]
    first, second = suspects([CAT], *rows, (0, 0, 40, 40, 0.9, 0))
    assert (first.annotated, first.detected) == ("nothing", "dog 0.90")
    assert second.annotated == "cat"


def test_a_detection_that_touches_a_box_is_no_forgotten_object():
    assert len(suspects([CAT], (20, 0, 60, 40, 0.9, 0))) == 1
    assert len(suspects([(*CAT, True)], (5, 5, 30, 30, 0.9, 0))) == 0, "nor one in an ignored area"


def test_forgotten_and_wrong_boxes_take_turns():
    rows = [(0, 50, 40, 90, 0.7, 0), (50, 0, 90, 40, 0.95, 0)]
    found = suspects([CAT, DOG], *rows)
    assert [item.annotated == "nothing" for item in found] == [True, False, True, False]
    assert [item.strangeness for item in found[::2]] == pytest.approx([0.95, 0.7])


def test_an_image_without_boxes_and_detections_has_no_suspect():
    assert suspects([]) == [] and suspects([], (0, 0, 9, 9, 0.2, 0)) == []


def test_ignored_objects_are_not_drawn_among_the_annotated(tmp_path):
    write_coco(tmp_path, [[(5, 5, 20, 20, 0), (50, 20, 30, 30, 1)]])
    dataset = Dataset(*read_split("coco", tmp_path), None)
    suspect = Suspect(0, dataset.records.boxes[0], "cat", "nothing", 1.0)
    before = suspect_cell(dataset, suspect)
    dataset.records.boxes[1] = (0, 0, 30, 30)
    assert (suspect_cell(dataset, suspect) != before).any()
    dataset.records.ignore[1] = True
    assert (suspect_cell(dataset, suspect) == before).all()
