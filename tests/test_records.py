import numpy as np
import pytest

from data.errors import UserError
from data.records import pack, parted


def test_boxes_are_clipped_and_those_of_no_area_dropped_with_a_note():
    records = pack([("folder/a.jpg", (50, 100), "a", [(-5, 10, 20, 60, 0, False), (30, 30, 30, 40, 1, False)]),
                    ("folder/b.jpg", (50, 100), "b", [])])
    assert records.boxes.tolist() == [[0, 10, 20, 50]] and records.boxes.dtype == np.float32
    assert records.offsets.tolist() == [0, 1, 1]
    assert records.notes[0] == "dropped boxes of no area or outside their image: 1, of a.jpg"
    assert "clipped boxes" in records.notes[1]


def test_each_image_knows_its_own_objects():
    records = pack([("a.jpg", (9, 9), 7, [(0, 0, 3, 3, 0, False)]), ("b.jpg", (9, 9), 5, []),
                    ("ü.jpg", (9, 9), 9, [(1, 1, 4, 4, 2, True), (2, 2, 8, 8, 1, False, 11.5)])])
    assert records.labels[records.objects(2)].tolist() == [2, 1]
    assert records.ignore[records.objects(2)].tolist() == [True, False]
    assert records.areas[records.objects(2)].tolist() == [9, 11.5]
    assert records.path(2) == "ü.jpg" and records.image_id(2) == 9
    assert len(records.boxes[records.objects(1)]) == 0


def test_a_subset_keeps_images_with_their_objects():
    records = pack([(f"{i}.jpg", (9, 9), i, [(0, 0, 3, 3, i, False)] * i) for i in range(4)])
    chosen = records.subset([3, 0, 1])
    assert [chosen.image_id(i) for i in range(3)] == [3, 0, 1]
    assert chosen.labels.tolist() == [3, 3, 3, 1] and chosen.labels[chosen.objects(2)].tolist() == [1]


def test_no_images_at_all_are_records_too():
    assert len(pack([])) == 0 and pack([]).boxes.shape == (0, 4)


def test_one_name_in_five_is_held_out():
    names = [f"image{i}" for i in range(1000)]
    (train, notes), (val, _) = (parted(names, split, "no list") for split in ("train", "val"))
    assert notes == ["no list: one image in five is held out for validation"]
    assert 150 < len(val) < 250 and sorted(train + val) == sorted(names)
    # More images move none from one side to the other.
    assert parted(names[:500], "val", "")[0] == [name for name in val if name in names[:500]]


@pytest.mark.parametrize("count", (2, 3, 4))
def test_of_few_images_neither_side_is_left_without(count):
    for first in range(100):
        names = [f"image{first + i}" for i in range(count)]
        train, val = (parted(names, split, "")[0] for split in ("train", "val"))
        assert train and val and sorted(train + val) == sorted(names)


def test_an_only_image_is_trained_and_judged_on():
    assert parted(["a"], "train", "why") == parted(["a"], "val", "why") == (["a"], ["why: the only image is trained and judged on"])


def test_a_split_that_nobody_made_is_no_part_of_another():
    with pytest.raises(UserError, match="no split 'test' in this dataset"):
        parted(["image"], "test", "why")
