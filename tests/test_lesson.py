"""The lesson says what the code does: its numbers, its quotations, its links and its pictures."""

import importlib
import re

import pytest
import torch
from PIL import Image
from torch import nn

import ssd
from data.shapes import NUM_IMAGES
from layers.boxes import encode
from lesson import __main__ as lesson_main
from lesson import example
from lesson.draw_clinic import clinic_numbers
from lesson.draw_detections import receptive_fields
from lesson.draw_log import log_numbers, log_table
from lesson.draw_settings import settings_numbers
from lesson.network import NETWORKS, network_numbers, network_table, run
from lesson.runs import RECIPES, initial_model
from lesson.text import (
    README,
    fill_code,
    fill_numbers,
    fill_tables,
    load_numbers,
    paper_numbers,
)
from tests.conftest import ROOT, draw_shapes

TEXT = README.read_text()
PICTURES = sorted((ROOT / "lesson/pictures").glob("*.png"))
# Numbers that are names, or the papers' own.
PLAIN = re.compile(
    r"SSD300|RetinaNet-?\d*|ResNet-18|VGG-16|AP50|AP75|F1\b|P[2-7]\b|C[2-5]\b|L1\b|"
    r"8 x 8|300 x 300|800 x 1344|stride\**\s+8\b|65\.5 to 74\.3|to 77\.2|until 2009|"
    r"conv\d|fc\d|pool\d|B x 3 x H x W|S x 4\b|"
    r"prior \d+|C \+ 1|1 - (pi?|alpha)\b|-x is 1 - p|"
    r"(Sec|Eq|Fig)\. [\d.]+|et al\.,\s+20\d\d|chapter \d+|## \d+|"
    r"[Ss]teps? \d( and \d)?|step\d_\w+|[Cc]hapters \d[\d, and]*"
)


def prose(text):
    """The text without quoted code, links, formulas, comments, what was measured of the steps, and
    what PLAIN says."""
    text = re.sub(r"^\| \[step.*$", "", text, flags=re.M)
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    text = re.sub(r"^(    |\|).*$", "", text, flags=re.M)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    text = re.sub(r"`[^`]*`|<!--table \w+-->", "", text)
    text = re.sub(r"(\([^()]*\)|\d+\sx\s\d+|[^\s(]+)<!--[\w.]+-->", "", text)
    return PLAIN.sub("", text)


def test_every_number_in_the_text_has_a_name():
    left = re.findall(r".*\d.*", prose(TEXT))
    assert not left, left


def test_every_number_in_the_text_is_the_computed_one():
    numbers = load_numbers()
    assert fill_numbers(TEXT, numbers) == TEXT
    assert len(re.findall(r"<!--[\w.]+-->", TEXT)) > 60


def test_the_tables_of_both_networks_are_current():
    assert fill_tables(TEXT) == TEXT
    assert all(network_table(name) in TEXT for name in NETWORKS)


def test_the_results_in_the_text_are_those_of_the_documentation():
    quoted = re.findall(r"<!--results-->\n((?:\|.*\n)+)", TEXT)
    pages = [(ROOT / f"docs/{name}.md").read_text() for name in ("results", "trials")]
    results = "".join(pages).splitlines()
    assert len(quoted) == 2
    for row in "".join(quoted).splitlines():
        assert row in results, row


def test_the_log_in_the_text_is_that_of_the_run():
    numbers = log_numbers() | settings_numbers() | clinic_numbers()
    assert numbers == {name: load_numbers()[name] for name in numbers}
    assert log_table() in TEXT and log_table().count("\n") > 5


def test_eq_4_gives_the_sizes_of_ssd300_after_the_first():
    numbers = network_numbers()
    sizes = f"{numbers['network.eq4']}, {numbers['network.eq4_last']}"
    assert sizes == ", ".join(map(str, ssd.SIZES[300][1:]))


def test_a_network_s_work_is_that_of_its_convolutions():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 1, stride=2))
    shapes, work = run(model, torch.zeros(2, 3, 6, 8))
    assert shapes == {"0": [(4, 6, 8)], "2": [(5, 3, 4)]}
    assert work == {"0": 4 * 6 * 8 * 27, "2": 5 * 3 * 4 * 4}


def test_every_function_in_the_text_is_the_project_s_and_has_at_most_twelve_lines():
    assert fill_code(TEXT) == TEXT
    quotes = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(quotes) >= 9 and all(0 < quote.count("\n") <= 12 for quote in quotes)


def test_every_link_resolves_and_every_linked_function_is_where_it_says():
    links = re.findall(r"\[([^\]]*)\]\(([^)]+)\)", TEXT)
    assert len(links) > 30
    for name, target in links:
        path = README.parent / target
        assert path.exists(), target
        for word in re.findall(r"^`([\w.]+)`$", name):
            pattern = rf"(def|class) {word.split('.')[-1]}\b"
            assert re.search(pattern, path.read_text()), f"{word} in {target}"


def test_every_picture_is_shown_small_and_as_wide_as_the_text():
    shown = re.findall(r"\]\(pictures/(\w+)\.png\)", TEXT)
    assert sorted(shown) == [path.stem for path in PICTURES] and len(shown) == 14
    for path in PICTURES:
        assert path.stat().st_size < 150_000 and Image.open(path).width == 800


def test_it_is_an_evening_long():
    # The list of papers is to look things up, not to read.
    text = re.sub(r"## Papers.*?(?=## Glossary)", "", TEXT, flags=re.S)
    # Nor is the border of a table a word.
    words = len(re.sub(r"<!--.*?-->|```.*?```|\||---", "", text, flags=re.S).split())
    assert 3000 <= words <= 10_000


def test_no_word_is_used_before_it_is_explained():
    body = re.sub(r"<!--.*?-->", "", TEXT[TEXT.index("## 1.") :])
    body = re.sub(r"\[[^\]]*\]\([^)]*\)|`[^`]*`|^## .*$", "", body, flags=re.M)
    terms = re.findall(r"\*\*([a-zA-Z- ]+)\*\*", body)
    for term in terms:
        if term in ("Where they differ", "Exercise"):
            continue
        first = re.search(rf"(?<![\w-]){term}(?!\w)", body, re.I)
        assert body[first.start() - 2 : first.start()] == "**", term


def test_every_glossary_word_is_in_the_text():
    rows = re.findall(r"^\| ([\w ]+) \|", TEXT[TEXT.index("## Glossary") :], re.M)[1:]
    assert len(rows) == 28 and rows == sorted(rows, key=str.lower)
    before = TEXT[: TEXT.index("## Glossary")].lower()
    assert all(word.lower() in before for word in rows)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """What the pictures without training compute today; nothing is drawn into the lesson."""
    patch = pytest.MonkeyPatch()
    for name in ("priors", "training", "detections", "log", "settings"):
        module = importlib.import_module(f"lesson.draw_{name}")
        patch.setattr(module, "save_figure", lambda figure, name: None)
    root = tmp_path_factory.mktemp("data") / "shapes"
    patch.setattr(example, "DATA", draw_shapes(root, train=1, val=NUM_IMAGES["val"]))
    yield paper_numbers() | lesson_main.cheap_pictures()
    patch.undo()


def test_the_numbers_that_need_no_training_are_what_the_code_computes(numbers):
    stored = load_numbers()
    assert len(numbers) > 60 and numbers == {name: stored[name] for name in numbers}


def test_a_reader_computes_the_same_deltas_from_the_corners_in_the_text(numbers):
    for name in RECIPES:
        box, prior, deltas = (
            torch.tensor([float(number) for number in numbers[f"{name}.{key}"].split(",")])
            for key in ("box", "prior", "deltas")
        )
        assert (encode(box, prior) - deltas).abs().max() < 0.01


def test_a_cell_sees_more_where_its_neighbours_are_enlarged_from_two_coarse_cells():
    numbers = load_numbers()
    seen = receptive_fields(initial_model("retinanet"), level=1)
    assert seen == (int(numbers["field.smallest"]), int(numbers["field.largest"]))
    assert seen[1] - seen[0] == 32


def test_the_two_detectors_of_the_lesson_can_be_built():
    for name in RECIPES:
        assert initial_model(name).levels
