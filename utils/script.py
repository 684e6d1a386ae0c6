"""Running a script: a user's mistake is one line, a bug keeps its traceback, and nothing is left
running."""

import multiprocessing
import signal
import sys

import torch

from data.errors import UserError
from utils.stop import stop_early

OUT_OF_MEMORY = (
    "out of memory: a smaller --batch, a larger --accumulate (the same batch in more parts) or a "
    "smaller --resize need less; what was saved is kept, and --resume goes on from it"
)


def run_script(main):
    """Run a script. A user's mistake is one line and exit code 2; a bug keeps its traceback."""
    signal.signal(signal.SIGINT, stop_early)
    try:
        code = main()
    except UserError as mistake:
        # One that happened in a loader's process arrives with that process's traceback before it.
        line = str(mistake).strip().splitlines()[-1].removeprefix("data.errors.UserError: ")
        print(f"error: {line}", file=sys.stderr)
        code = 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: {OUT_OF_MEMORY}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("stopped before the training began", file=sys.stderr)
        code = 128 + signal.SIGINT
    finally:
        # Processes that load images wait for a signal that they ignore: they would never end.
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for process in multiprocessing.active_children():
            process.kill()
    sys.exit(code)


def is_out_of_memory(error):
    """Whether an error says that the computer's or the GPU's memory is used up."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        "DefaultCPUAllocator" in str(error)
    )
