"""How all pictures look: white is an object; levels and classes have colours of their own."""

import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

PICTURES = Path(__file__).parent / "pictures"
# One for each level, from the finest to the coarsest.
LEVELS = ("#ffe838", "#ff9500", "#ff4b3e", "#e23bd0", "#b06cf0", "#7d8cff")
# One for each class of shapes.
CLASSES = ("#3d9bff", "#2ee6c5", "#b48cff")
# What a prior is in training.
POSITIVE_COLOUR = "#c8401b"
IGNORED_COLOUR = "#9a9a9a"
BACKGROUND_COLOUR = "#2f4b7c"
# One for each value of a constant, from small to large.
LINES = ("#c6b45c", "#7fb069", "#2a9d8f", "#c8401b", "#2f4b7c")
OBJECT_COLOUR = "white"
DARK = "#333333"
INK = "#222222"
# A picture is often seen 400 pixels wide, half as large as it is drawn.
STYLE = {
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.handlelength": 1.2,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": "#777777",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2.2,
}
MAX_BYTES = 150_000


def in_style(draw):
    """The function draw, called so that all that it draws is in this style."""

    def draw_in_style(*arguments):
        with matplotlib.rc_context(STYLE):
            return draw(*arguments)

    return draw_in_style


def new_figure(rows=1, columns=1, height=4.0, **options):
    """A figure 800 pixels wide, and its axes."""
    figure = Figure(figsize=(8, height), dpi=100, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.07)  # inches, so that no title touches the border
    return figure, figure.subplots(rows, columns, **options)


def show_image(axes, image, title=""):
    """Show an image without ticks; the units of the axes are its pixels, from its corner."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0), interpolation="bilinear")
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)


def add_box(axes, box, colour=OBJECT_COLOUR, width=1.6, style="-", fill=None):
    """Draw a box, xyxy, which a dark line around it keeps visible on any image."""
    left, top, right, bottom = np.asarray(box, float)
    place = ((left, top), right - left, bottom - top)
    if fill is None:
        axes.add_patch(Rectangle(*place, fill=False, edgecolor="black", linewidth=width + 1.4))
    axes.add_patch(
        Rectangle(
            *place, facecolor=fill or "none", edgecolor=colour, linewidth=width, linestyle=style
        )
    )


def add_text(axes, x, y, text, colour=INK, size=12, **options):
    """Write text on a light plate, which keeps it legible on any image."""
    plate = dict(facecolor="white", edgecolor="none", alpha=0.85, pad=1.5)
    axes.text(x, y, text, color=colour, fontsize=size, bbox=plate, **options)


def add_colours(figure, names, colours):
    """Say below a figure what its colours stand for."""
    lines = [Line2D([], [], color=colour, linewidth=7) for _, colour in zip(names, colours)]
    figure.legend(
        lines, names, loc="outside lower center", ncols=len(names), frameon=False,
        columnspacing=1.2,
    )  # fmt: skip


def dim(image, share=0.45):
    """The image made darker, so that what is drawn on it stands out."""
    return (image * share).astype(np.uint8)


def save_figure(figure, name):
    """Write pictures/<name>.png."""
    return write_picture(figure, PICTURES / f"{name}.png")


def write_picture(figure, path):
    """Write a PNG file with as many colours as fit into MAX_BYTES."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    picture = Image.open(buffer).convert("RGB")
    path.parent.mkdir(exist_ok=True)
    for colours in (256, 128, 64, 32):
        # Without kmeans, a colour of a few pixels becomes that of its neighbour.
        quantized = picture.quantize(colours, kmeans=1, dither=Image.Dither.NONE)
        quantized.save(path, optimize=True)
        if path.stat().st_size < MAX_BYTES:
            break
    return path
