import pytest

from data.formats import widerface
from data.reading import read_folder
from data.text import UserError
from tests.conftest import read_split, write_image

FACES = """0--Parade/a.jpg
2
10 20 30 20 2 0 0 0 2 0
5 5 8 8 2 0 0 1 2 0
0--Parade/b.jpg
0
0 0 0 0 0 0 0 0 0 0
0--Parade/c.jpg
1
0 0 0 0 0 0 0 0 0 0
0--Parade/d.jpg
0
0--Parade/e.jpg
3
10 10 -2 5 0 0 0 0 0 0
50 10 0 5 0 0 0 0 0 0
60 10 9 9 0 0 0 0 0 0
"""


def write(root, text):
    place = root / "wider_face_split/wider_face_val_bbx_gt.txt"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def test_every_way_of_writing_no_faces_is_known(tmp_path):
    write(tmp_path, FACES)
    for name in "abcde":
        write_image(tmp_path / f"WIDER_val/images/0--Parade/{name}.jpg")
    classes, records = read_split("widerface", tmp_path, "val")
    assert classes == ["face"] and not records.problems
    assert [len(records.boxes[records.objects(i)]) for i in range(5)] == [2, 0, 0, 0, 1]
    assert records.ignore.tolist() == [False, True, False]
    assert records.boxes[0].tolist() == [10, 20, 40, 40]
    assert "dropped boxes of no area" in records.notes[0] and ": 2, of e.jpg" in records.notes[0]


def test_a_wrong_line_is_named(tmp_path):
    problems = []
    path = write(tmp_path, FACES.replace("5 5 8 8 2", "5 five 8 8 2"))
    assert len(widerface.parse_faces(path, problems)) == 5
    assert len(problems) == 1 and "bbx_gt.txt, line 4: not a face" in problems[0]


@pytest.mark.parametrize("count", ("2147483648", "-1", "two", ""))
def test_a_count_that_cannot_be_is_a_problem_and_takes_no_time(tmp_path, count):
    problems = []
    assert not widerface.parse_faces(
        write(tmp_path, f"a.jpg\n{count}\n1 2 3 4 0 0 0 0 0 0"), problems
    )
    assert "line 2: no count of faces for a.jpg" in problems[0]


def test_a_folder_without_a_list_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="expected wider_face_split/wider_face_train_bbx_gt.txt"):
        read_folder("widerface", tmp_path)


def test_a_list_that_ends_within_its_faces_is_a_problem(tmp_path):
    problems = []
    widerface.parse_faces(write(tmp_path, "a.jpg\n2\n1 2 3 4 0 0 0 0 0 0"), problems)
    assert "line 2: no count of faces for a.jpg" in problems[0]
