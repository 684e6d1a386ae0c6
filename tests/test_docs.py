import re

import pytest

from tests.conftest import ROOT, write_image

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "weights/README.md"]
USE = ROOT / "docs/use.md"
PAGES += sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_resolves(path):
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    for target in targets:
        if target.startswith("http"):
            continue
        file, _, heading = target.partition("#")
        page = path.parent / file
        assert page.exists(), target
        headings = re.findall("^#+ (.*)", page.read_text(), re.M) if heading else [""]
        assert heading in [text.lower().replace(" ", "-") for text in headings], target


def test_every_recipe_that_is_named_is_there():
    from utils.recipes import RECIPES

    text = " ".join(path.read_text() for path in PAGES)
    named = re.findall(r"`((?:retinanet|ssd300|ssd512)_[a-z]+)`", text)
    assert named and set(named) <= set(RECIPES) | {"ssd300_vgg16"}


@pytest.mark.parametrize("package", ("supervision", "pandas", "fiftyone"))
def test_detections_go_to_another_package_as_the_docs_say(tmp_path, monkeypatch, package):
    pytest.importorskip(package)
    from tests.test_detector import Detector, save_random_detector

    monkeypatch.chdir(tmp_path)
    save_random_detector(tmp_path / "best.pth")
    write_image(tmp_path / "photo.jpg")
    detector = Detector("best.pth", "cpu", score_threshold=0.0)
    names = dict(detector=detector, detections=detector("photo.jpg"))
    [code] = re.findall(rf"```python\n(import {package}\n.*?)```", USE.read_text(), re.DOTALL)
    exec(code, names)
    [found] = [names[name] for name in ("objects", "table", "labels") if name in names]
    assert len(found) == len(names["detections"]["scores"]) > 0


def test_the_minutes_that_reading_takes_are_counted():
    rows = [row for row in (ROOT / "README.md").read_text().splitlines() if row.startswith("| ")]
    rows = [row for row in rows if re.match(r"\| \d+ \| .* \| \d+ \|$", row)]
    assert len(rows) == 7
    for row in rows:
        files = re.findall(r"\]\(([^)]+\.py)\)", row)
        lines = sum(len((ROOT / file).read_text().splitlines()) for file in files)
        assert int(row.split("|")[-2]) == round(lines / 25), row
