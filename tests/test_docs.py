import re

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "weights/README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_resolves(path):
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    for target in targets:
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_every_recipe_that_is_named_is_there():
    from utils.recipes import RECIPES

    text = " ".join(path.read_text() for path in PAGES)
    named = re.findall(r"`((?:retinanet|ssd300|ssd512)_[a-z]+)`", text)
    assert named and set(named) <= set(RECIPES) | {"ssd300_vgg16"}


def test_the_minutes_that_reading_takes_are_counted():
    rows = [row for row in (ROOT / "README.md").read_text().splitlines() if row.startswith("| ")]
    rows = [row for row in rows if re.match(r"\| \d+ \| .* \| \d+ \|$", row)]
    assert len(rows) == 7
    for row in rows:
        files = re.findall(r"\]\(([^)]+\.py)\)", row)
        lines = sum(len((ROOT / file).read_text().splitlines()) for file in files)
        assert int(row.split("|")[-2]) == round(lines / 25), row
