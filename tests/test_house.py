"""The house keeps its order: who imports whom, how long things are, which words belong where."""
import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"layers": ("layers",), "ssd": ("layers",), "retinanet": ("layers",), "data": ("data", "layers"),
         "utils": ("utils", "layers", "ssd", "retinanet", "data"),
         "published": ("published", "utils", "layers", "ssd", "retinanet", "data"),
         "tools": ("tools", "published", "utils", "layers", "ssd", "retinanet", "data")}
SCRIPTS = ("train", "eval", "detect", "export")
FILES = sorted(path for room in (".", "layers", "data", "data/formats", "utils", "published", "tools")
               for path in (ROOT / room).glob("*.py"))
OURS = {*ROOMS, *SCRIPTS, "tests"}


def room(path):
    place = path.relative_to(ROOT)
    return place.parts[0] if len(place.parts) > 1 else path.stem


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_keeps_to_its_room(path):
    text = path.read_text()
    tree = ast.parse(text)
    allowed = ROOMS.get(room(path), (*ROOMS,))
    for name in imported(tree):
        assert name.split(".")[0] not in OURS - set(allowed), f"{path} imports {name}"
        if room(path) == "data":
            assert not name.startswith("layers") or name == "layers.boxes"
    assert len(text.splitlines()) <= 200
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 45, node.name
        assert not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*")
        assert not (isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception"))
    if path.name != "__init__.py":
        assert ast.get_docstring(tree), f"{path} does not say what it is"
    assert not re.search(r"\bTODO\b|\.cuda\(\)|pdb", text)
    if room(path) in ("layers", "ssd", "retinanet", "data"):
        assert "cuda" not in text


def test_the_core_is_at_most_1500_lines():
    core = [path for path in FILES if room(path) in ("layers", "ssd", "retinanet", "train", "eval", "detect")]
    assert sum(len(path.read_text().splitlines()) for path in core) <= 1500


def test_init_files_are_empty():
    assert not any(path.read_text() for path in FILES if path.name == "__init__.py")
