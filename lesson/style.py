"""How all pictures look: white is an object, grey is what does not count."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

PICTURES = Path(__file__).parent / "pictures"
# Okabe and Ito's colours, which colour-blind people can tell apart; one for each level, from the
# finest to the coarsest.
LEVELS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
OBJECT_COLOUR = "white"
IGNORED_COLOUR = "#9a9a9a"
INK = "#222222"
MAX_BYTES = 150_000


def new_figure(rows=1, columns=1, height=4.0, **options):
    """A figure 800 pixels wide, and its axes."""
    figure = Figure(figsize=(8, height), dpi=100, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def show_image(axes, image, title=""):
    """Show an image without ticks; the units of the axes are its pixels, from its corner."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0), interpolation="bilinear")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10, color=INK)


def add_box(axes, box, colour=OBJECT_COLOUR, width=1.6, style="-", fill=None, label=None):
    """Draw a box, xyxy, which a dark line around it keeps visible on any image."""
    left, top, right, bottom = np.asarray(box, float)
    place = ((left, top), right - left, bottom - top)
    if fill is None:
        axes.add_patch(Rectangle(*place, fill=False, edgecolor="black", linewidth=width + 1.4))
    axes.add_patch(
        Rectangle(
            *place,
            facecolor=fill or "none",
            edgecolor=colour,
            linewidth=width,
            linestyle=style,
            label=label,
        )
    )


def add_text(axes, x, y, text, colour=INK, size=9, **options):
    """Write text on a light plate, which keeps it legible on any image."""
    plate = dict(facecolor="white", edgecolor="none", alpha=0.85, pad=1.5)
    axes.text(x, y, text, color=colour, fontsize=size, bbox=plate, **options)


def dim(image, share=0.45):
    """The image made darker, so that what is drawn on it stands out."""
    return (image * share).astype(np.uint8)


def save_figure(figure, name):
    """Write pictures/<name>.png with as many colours as fit into MAX_BYTES."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    picture = Image.open(buffer).convert("RGB")
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / f"{name}.png"
    for colours in (256, 128, 64, 32):
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < MAX_BYTES:
            break
    return path
