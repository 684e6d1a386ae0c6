import numpy as np
import pytest

from utils.draw import colour, draw, draw_name, sheet

IMAGE = np.zeros((80, 120, 3), np.uint8)


def test_a_box_is_drawn_in_its_class_s_colour_on_a_copy():
    drawn = draw(IMAGE, [(10, 30, 60, 70)], [1], ["cat", "dog"], [0.9])
    assert tuple(drawn[50, 10]) == colour(1) and not IMAGE.any()


def test_nothing_found_is_a_picture_too():
    assert (draw(IMAGE, [], [], ["cat"], []) == IMAGE).all()


def test_a_box_at_the_border_keeps_its_name_within_the_picture():
    assert (
        draw(IMAGE, [(0, 0, 120, 80)], [0], ["a very long class name"], [1.0]).shape == IMAGE.shape
    )


def test_classes_have_colours_of_their_custom():
    assert len({colour(i) for i in range(80)}) == 80


def test_a_sheet_holds_pictures_of_any_size():
    assert sheet([IMAGE, IMAGE[:, :20], IMAGE[:5]], columns=2, width=100).shape == (208, 208, 3)


def test_names_stand_below_the_pictures_of_a_sheet():
    picture = sheet([IMAGE + 9] * 2, columns=2, width=120, names=["a.jpg", "b.jpg"])
    assert picture.shape == (144, 248, 3)
    assert (picture[82:104, :124] == 0).any() and (picture[82:104, 124:] == 0).any()


def plate(box, name="cat"):
    """The first and last rows and columns of the plate that is drawn for a box."""
    canvas = IMAGE.copy()
    draw_name(canvas, name, box, colour(0), 0.5)
    rows, columns, _ = np.nonzero(canvas)
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_a_name_in_another_encoding_is_written_without_its_foreign_letters():
    picture = np.zeros((40, 40, 3), np.uint8)
    written = sheet([picture], names=["M\udcfcnchen.jpg"])
    assert (written == sheet([picture], names=["M?nchen.jpg"])).all()


def test_a_name_stands_above_its_box_or_at_its_top():
    first, last, left, _ = plate((10, 40, 60, 70))
    assert last == 39 and left == 10
    assert plate((10, 5, 60, 40))[:3] == (5, 5 + last - first, 10)


@pytest.mark.parametrize("box", ((100, 40, 119, 60), (-20, -3, 9, 9), (90, 90, 119, 99)))
def test_a_name_stays_whole_within_the_picture(box):
    sizes = []
    for place in (box, (10, 40, 60, 70)):
        first, last, left, right = plate(place)
        sizes.append((last - first, right - left))
    assert sizes[0] == sizes[1]


def test_a_name_that_is_wider_than_the_picture_loses_its_end():
    assert plate((60, 40, 90, 70), "a very long class name")[2:] == (0, 119)


def test_no_name_hides_a_box():
    small = (40, 24, 50, 32)  # where the name of the other box stands
    drawn = draw(IMAGE, [(10, 40, 100, 70), small], [1, 0], ["cat", "a long name"])
    left, top, right, bottom = small
    sides = np.concatenate([drawn[top, left:right], drawn[top:bottom, left]])
    assert (sides == colour(0)).all()
