"""The lesson's text: numbers and code in it are marked by comments, and are filled in from here.

A number stands before its name, as in `8,732<!--cells.ssd300.priors-->`, several in parentheses; a
function is quoted below a line such as `<!--code layers/boxes.py iou-->`.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = Path(__file__).parent / "README.md"
NUMBER = re.compile(r"(\([^()]*\)|\d+\sx\s\d+|[^\s(]+)<!--([\w.]+)-->")
CODE = re.compile(r"<!--code (\S+) (\w+)-->\n```python\n(.*?)```\n", re.S)


def fill_numbers(text, numbers):
    """The text with the numbers of these names."""

    def fill(found):
        old, name = found.groups()
        new = f"({numbers[name]})" if old.startswith("(") else numbers[name]
        # Where a line ended within it, it still does.
        return (old if old.split() == new.split() else new) + f"<!--{name}-->"

    return NUMBER.sub(fill, text)


def fill_code(text):
    """The text with every quoted function as it is now."""

    def fill(found):
        path, name, _ = found.groups()
        return f"<!--code {path} {name}-->\n```python\n{quote(path, name)}\n```\n"

    return CODE.sub(fill, text)


def quote(path, name):
    """A function's lines without its docstring."""
    source = (ROOT / path).read_text()
    (function,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name
    ]
    lines = source.splitlines()
    first = function.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    body = first.end_lineno if has_docstring else first.lineno - 1
    head = lines[function.lineno - 1 : (first.lineno - 1)]
    indent = function.col_offset
    return "\n".join(line[indent:] for line in head + lines[body : function.end_lineno])


def refresh(numbers):
    """Write README.md anew with these numbers and today's code."""
    README.write_text(fill_code(fill_numbers(README.read_text(), numbers)))
