import numpy as np

from data.records import ANY_CLASS, Entry, Object, pack
from data.text import count_note, some
from tests.conftest import make_records


def test_boxes_are_clipped_and_those_of_no_area_dropped_with_a_note():
    records = make_records(
        [((50, 100), [(-5, 10, 20, 60, "a"), (30, 30, 30, 40, "b")]), ((50, 100), [])]
    )
    assert records.boxes.tolist() == [[0, 10, 20, 50]] and records.boxes.dtype == np.float32
    assert records.offsets.tolist() == [0, 1, 1]
    assert records.notes[0] == "dropped boxes of no area or outside their image: 1, of 0.jpg"
    assert "clipped boxes" in records.notes[1]


def test_equal_boxes_count_once_with_a_note():
    box = Object(1, 1, 9, 9, "cat")
    other = box._replace(name="dog")
    entry = Entry("a.jpg", (64, 96), 0, [box, other, box, box])
    records = pack([entry, entry._replace(path="b.jpg", objects=[])], ["cat", "dog"])
    assert records.labels.tolist() == [0, 1] and records.offsets.tolist() == [0, 2, 2]
    assert records.notes == ("boxes that are listed twice and count once: 2, of a.jpg",)


def test_every_image_knows_its_own_objects():
    objects = [(1, 1, 4, 4, "c", True), (2, 2, 8, 8, "b", False, 11.5)]
    records = make_records([((9, 9), [(0, 0, 3, 3, "a")]), ((9, 9), []), ((9, 9), objects)])
    assert records.labels[records.objects(2)].tolist() == [2, 1]
    assert records.ignore[records.objects(2)].tolist() == [True, False]
    assert records.areas[records.objects(2)].tolist() == [9, 11.5]
    assert records.path(2) == "folder/2.jpg" and records.image_ids[2] == 2
    assert len(records.boxes[records.objects(1)]) == 0


def test_paths_may_hold_any_letters():
    assert pack([Entry("ü/ß.jpg", (9, 9), 1, [])], []).path(0) == "ü/ß.jpg"


def test_a_subset_keeps_images_with_their_objects():
    images = [((9, 9), [(0, 0, 3, 3 + j, str(i)) for j in range(i)]) for i in range(4)]
    chosen = make_records(images, ["0", "1", "2", "3"]).subset([3, 0, 1])
    assert [chosen.image_ids[i] for i in range(3)] == [3, 0, 1]
    assert chosen.labels.tolist() == [3, 3, 3, 1]
    assert chosen.labels[chosen.objects(2)].tolist() == [1]


def test_no_images_at_all_are_records_too():
    assert len(pack([], [])) == 0 and pack([], ["a"]).boxes.shape == (0, 4)


def test_objects_of_other_classes_are_left_out():
    objects = [Object(0, 0, 5, 5, name) for name in ("Car", "Tram", None)]
    records = pack([Entry("a.jpg", (9, 9), 1, objects)], ["Car"])
    assert records.labels.tolist() == [0, ANY_CLASS]


def test_a_class_that_the_dataset_lacks_gets_no_number_of_another():
    ids = dict(person=1, cat=2, dog="3")
    records = pack([], ["person", "bicycle", "cat", "car", "dog"], ids)
    assert records.category_ids == (1, 3, 2, 4, "3")
    assert pack([], ["a", "b"]).category_ids == (1, 2)


def test_records_keep_those_objects_that_are_chosen():
    images = [((9, 9), [(0, 0, 3, 3 + j, "a") for j in range(i)]) for i in range(4)]
    records = make_records(images)
    kept = records.boxes[:, 3] > 3
    offsets = np.concatenate([[0], np.cumsum(kept)])[records.offsets]
    chosen = records.with_objects(kept, offsets)
    assert [chosen.boxes[chosen.objects(i), 3].tolist() for i in range(4)] == [[], [], [4], [4, 5]]


def test_an_image_that_cannot_be_read_is_a_problem_and_left_out(tmp_path):
    records = pack([Entry(tmp_path / "none.jpg", None, 1, [])], [])
    assert len(records) == 0 and records.problems == (f"{tmp_path}/none.jpg: no such image",)


def test_notes_name_some_files_and_count_the_rest():
    paths = [f"folder/{i}.jpg" for i in range(7)]
    assert count_note("odd", paths) == ["odd: 7, of 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 2 more"]
    assert count_note("odd", []) == [] and some("ba", 1) == "a and 1 more"
