"""An evaluation as one HTML file, with its pictures inside, to send to somebody."""

import html

from utils.draw import embedded

PICTURES = {
    "curves.png": "The training",
    "quality.png": "How good it is",
    "mistakes.jpg": "The worst mistakes: sure of nothing, wrong class, poor box, missed",
    "predictions.jpg": "Detections (coloured) and the truth (white)",
}
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1300px; margin: 2em auto; padding: 0 1em; }
pre { overflow-x: auto; font-size: 13px; }
img { max-width: 100%; height: auto; }
td { padding-right: 1em; vertical-align: top; }
"""


def report(described, table, folder):
    """The page, a text: what was evaluated, the table, and those of the PICTURES in the folder."""
    rows = "".join(
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(str(value))}</td></tr>"
        for name, value in described.items()
        if value not in ([], None)
    )
    found = {folder / name: title for name, title in PICTURES.items() if (folder / name).exists()}
    pictures = "".join(
        f"<h2>{title}</h2><img alt='{title}' src='{embedded(path.read_bytes(), path.suffix)}'>"
        for path, title in found.items()
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>Evaluation</title><style>{STYLE}</style><h1>Evaluation</h1>"
        f"<table>{rows}</table><pre>{html.escape(table)}</pre>{pictures}</html>"
    )
