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
