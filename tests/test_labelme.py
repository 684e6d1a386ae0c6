import base64
import json
import re

import pytest

from data.images import read_image
from data.reading import read_folder
from data.text import UserError
from data.write import write_dataset
from tests.conftest import read_split, write_image


def write(root, *shapes, **content):
    write_image(root / "a.jpg")
    (root / "a.json").write_text(
        json.dumps(dict(shapes=shapes, imagePath="..\\x\\a.jpg") | content)
    )


def test_rectangles_polygons_and_circles_become_boxes(tmp_path):
    write(
        tmp_path,
        dict(label="cat", points=[[30, 40], [10, 20]], shape_type="rectangle"),
        dict(label="dog", points=[[1, 2], [5, 2], [3, 9]], shape_type="polygon"),
        dict(label="dog", points=[[20, 20], [23, 24]], shape_type="circle"),
    )
    classes, records = read_split("labelme", tmp_path)
    assert classes == ["cat", "dog"]
    assert records.boxes.tolist() == [[10, 20, 30, 40], [1, 2, 5, 9], [15, 15, 25, 25]]


@pytest.mark.parametrize(
    "shape",
    (
        dict(label="cat", points=[[1, 2]]),
        dict(label="cat", points=3),
        dict(points=[[1, 2], [3, 4]]),
        "shape",
    ),
)
def test_a_shape_that_is_no_box_is_a_problem(tmp_path, shape):
    write(tmp_path, shape)
    (problem,) = read_folder("labelme", tmp_path).problems
    assert "a.json: shapes[0]: no label, or no points of a box" in problem


@pytest.mark.parametrize("ending", ("jpg", "png"))
def test_of_two_images_of_its_name_the_one_that_the_file_names_is_taken(tmp_path, ending):
    write(tmp_path, imagePath=f"a.{ending}")
    write_image(tmp_path / "a.png", seed=1)
    (entry,) = read_folder("labelme", tmp_path).splits["all"]
    assert entry.path == str(tmp_path / f"a.{ending}")


def test_a_folder_without_such_files_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="no labelme files in .*; expected a json file"):
        read_folder("labelme", tmp_path)


def test_a_point_among_boxes_is_left_out_and_counted(tmp_path):
    box = dict(label="cat", points=[[10, 20], [40, 20], [40, 60], [10, 60]], shape_type="rotation")
    write(tmp_path, box, dict(label="nose", points=[[1, 2]], shape_type="point"))
    source = read_folder("labelme", tmp_path)
    (entry,) = source.splits["all"]
    assert [item[:5] for item in entry.objects] == [(10, 20, 40, 60, "cat")]
    assert source.notes == ["not used: shapes that are points: 1, of a.json"]


@pytest.mark.parametrize("ending", ("jpg", "png"))
def test_a_picture_that_is_inside_the_json_is_read(tmp_path, ending):
    write_image(tmp_path / f"a.{ending}")
    box = dict(label="cat", points=[[30, 40], [10, 20]], shape_type="rectangle")
    data = base64.b64encode((tmp_path / f"a.{ending}").read_bytes()).decode()
    expected = read_image(tmp_path / f"a.{ending}")
    write(tmp_path, box, imageData=data, imagePath="b.jpg")
    for path in tmp_path.glob("a.[jp]?g"):
        path.unlink()
    classes, records = read_split("labelme", tmp_path)
    assert records.sizes.tolist() == [list(expected.shape[:2])]
    assert (read_image(records.path(0), records.sizes[0]) == expected).all()
    write_dataset(tmp_path / "copy", "voc", classes, dict(all=records))
    assert (read_image(tmp_path / f"copy/JPEGImages/a.{ending}") == expected).all()
    assert read_split("voc", tmp_path / "copy")[1].boxes.tolist() == [[10, 20, 30, 40]]


@pytest.mark.parametrize("data", ("cat", 3, "/9j/4AAQ", [1]))
def test_of_a_broken_picture_in_a_json_a_line_says_so(tmp_path, data):
    write(tmp_path, imageData=data)
    (tmp_path / "a.jpg").unlink()
    (problem,) = read_split("labelme", tmp_path)[1].problems
    assert re.search("a.json: (no picture in its imageData|not a readable image)", problem)
