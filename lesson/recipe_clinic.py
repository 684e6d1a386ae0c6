"""RetinaNet in the clinic: that of `python train.py`, but wider, on smaller images and with the
paper's box loss, for three hundred iterations."""

from utils.recipes import shapes

recipe = shapes | dict(
    base_width=64, channels=64, resize=96, max_size=120, prior_sizes=(9, 18, 36, 72, 144, 288),
    box_loss="smooth_l1", box_weight=2.0,
    iterations=300, eval_every=300, log_every=1, save_every=300, workers=0, precision="float32",
)  # fmt: skip
