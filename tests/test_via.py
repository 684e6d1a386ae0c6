import json

import pytest

from data.reading import read_folder
from data.text import UserError
from tests.conftest import read_split, write_image

SHAPES = [
    dict(name="rect", x=10, y=20, width=30, height=40),
    dict(name="polygon", all_points_x=[10, 40, 25], all_points_y=[20, 20, 60]),
    dict(name="circle", cx=30, cy=30, r=10),
    dict(name="ellipse", cx=30, cy=30, rx=20, ry=10, theta=1.5707963),
]
BOXES = [[10, 20, 40, 60], [10, 20, 40, 60], [20, 20, 40, 40], [20, 10, 40, 50]]


def image(*regions, name="a.jpg"):
    """An image as VIA 2 writes it; regions are (shape, attributes)."""
    parts = [dict(shape_attributes=shape, region_attributes=other) for shape, other in regions]
    return dict(filename=name, size=1, regions=parts, file_attributes={})


def write(root, *images):
    write_image(root / "a.jpg")
    root.joinpath("via.json").write_text(json.dumps({str(i): x for i, x in enumerate(images)}))


@pytest.mark.parametrize(
    "shape, box", [*zip(SHAPES, BOXES)], ids=[shape["name"] for shape in SHAPES]
)
def test_boxes_lie_around_all_shapes(tmp_path, shape, box):
    write(tmp_path, image((shape, dict(kind="cell"))))
    classes, records = read_split("auto", tmp_path)
    assert classes == ["cell"] and records.boxes.round(3).tolist() == [box]


def test_a_project_and_numbered_regions_are_read_alike(tmp_path):
    picture = image((SHAPES[0], dict(kind=dict(cell=True, other=False))))
    picture["regions"] = {"0": picture["regions"][0]}
    write(tmp_path)
    content = {"_via_settings": {}, "_via_img_metadata": {"a.jpg1": picture}}
    tmp_path.joinpath("via.json").write_text(json.dumps(content))
    classes, records = read_split("via", tmp_path)
    assert classes == ["cell"] and records.boxes.tolist() == BOXES[:1]


def test_rows_of_a_csv_are_regions_and_an_image_without_any_has_none(tmp_path):
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes"
    shape, kind = (json.dumps(part).replace('"', '""') for part in (SHAPES[0], dict(kind="cell")))
    rows = [f"{header},region_attributes", f'a.jpg,1,"{{}}",1,0,"{shape}","{kind}"']
    for name in "ab":
        write_image(tmp_path / f"{name}.jpg")
    tmp_path.joinpath("via.csv").write_text("\n".join([*rows, 'b.jpg,1,"{}",0,0,"{}","{}"']))
    classes, records = read_split("auto", tmp_path)
    assert classes == ["cell"] and records.offsets.tolist() == [0, 1, 1]


def test_without_attributes_all_are_objects_and_points_are_left_out_with_a_note(tmp_path):
    write(tmp_path, image((SHAPES[0], {}), (dict(name="point", cx=1, cy=1), {})))
    source = read_folder("auto", tmp_path)
    assert source.classes == ["object"] and len(source.splits["all"][0].objects) == 1
    assert any("are of one class, object" in note for note in source.notes)
    assert any("shapes that are points: 1" in note for note in source.notes)


def test_of_several_attributes_most_regions_have_that_of_the_class(tmp_path):
    both = dict(kind="cell", torn="yes")
    write(tmp_path, image((SHAPES[0], both), (SHAPES[2], dict(kind="nucleus", torn=""))))
    source = read_folder("via", tmp_path)
    assert source.classes == ["cell", "nucleus"]
    assert source.notes == ["classes are the values of 'kind'; other attributes: torn"]


@pytest.mark.parametrize("shape", (dict(name="rect", x="left"), dict(name="star"), {}))
def test_a_region_that_cannot_be_read_is_a_problem_that_names_it(tmp_path, shape):
    write(tmp_path, image((SHAPES[0], dict(kind="a")), (shape, dict(kind="a"))))
    source = read_folder("via", tmp_path)
    (problem,) = source.problems
    assert "via.json: a.jpg, region 1: " in problem
    assert not source.splits["all"][0].is_complete


@pytest.mark.parametrize("content", ([], {"a": 1}, {"a": {"filename": "a.jpg", "regions": [1]}}))
def test_a_broken_file_is_one_line(tmp_path, content):
    write(tmp_path)
    keys = ', "shape_attributes": 1, "region_attributes": 1}'
    text = json.dumps(content)
    tmp_path.joinpath("via.json").write_text(text[:-1] + keys if text[-1] == "}" else text)
    with pytest.raises(UserError, match="not a readable file of VIA|no VIA annotations"):
        read_folder("via", tmp_path)


def test_an_image_without_regions_has_no_objects(tmp_path):
    write(tmp_path, image((SHAPES[0], dict(kind="a"))), image(name="b.jpg"))
    write_image(tmp_path / "b.jpg")
    assert [len(entry.objects) for entry in read_folder("via", tmp_path).splits["all"]] == [1, 0]
