import numpy as np

from utils.draw import colour, draw, sheet

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
