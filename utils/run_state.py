"""What a training needs to go on from a checkpoint, beside weights, recipe and classes."""

import torch

from data.errors import UserError


def state_of(run, iteration):
    """The state of a run after an iteration, as tensors and plain values."""
    state = dict(
        optimizer=run.optimizer.state_dict(),
        random=torch.get_rng_state(),
        best=run.best,
        stale=run.stale,
        epoch=iteration // run.per_epoch,
        plateau=run.plateau.state_dict(),
        scaler=run.guard.scaler.state_dict(),
    )
    if run.ema:
        state |= dict(ema=run.ema.state_dict(), training=run.model.state_dict())
    return state


def restore(run, content):
    """Put a run back where the content of a checkpoint left it."""
    if "optimizer" not in content:
        raise UserError("this checkpoint holds no optimizer to go on with: resume from last.pth")
    try:
        run.model.load_state_dict(content.get("training", content["model"]))
        run.optimizer.load_state_dict(content["optimizer"])
        run.plateau.load_state_dict(content["plateau"])
        if run.ema:
            run.ema.load_state_dict(content["ema"])
        if content.get("scaler"):
            # It is empty where the run so far was not in float16.
            run.guard.scaler.load_state_dict(content["scaler"])
        torch.set_rng_state(content["random"])
        run.done = run.saved = content["iteration"]
        run.best, run.stale = content["best"], content["stale"]
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--resume with another detector or optimizer than the checkpoint's: {reason}"
        ) from None
