"""Stopping: a signal asks, and the loop answers when its iteration is done."""

import signal

import torch
import torch.distributed as dist

from utils import parallel

# Ctrl-C, a polite kill, and a terminal that was closed.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


# Requests from before a run could answer them.
early_requests = []


def stop_early(number, frame):
    """Before there is a run: end at once, or else after its first iteration."""
    early_requests.append(number)
    raise KeyboardInterrupt


class Stop:
    """Whether the run was asked to stop.

    A second request is obeyed at once, by a KeyboardInterrupt, unless the run is busy changing or
    saving weights.
    """

    def __init__(self):
        self.signal, self.asked = None, early_requests[-1] if early_requests else None
        self.busy = False
        self.former = {number: signal.signal(number, self.ask) for number in SIGNALS}
        # Between processes on the host: no GPU has to be waited for.
        self.group = dist.new_group(backend="gloo") if parallel.world_size() > 1 else None

    def ask(self, number, frame):
        is_second, self.asked = self.asked is not None, number
        if is_second and not self.busy:
            raise KeyboardInterrupt

    def agree(self):
        """After each iteration: of several processes, all stop after the same one."""
        if self.group:
            asked = torch.tensor(self.asked or 0)
            dist.all_reduce(asked, dist.ReduceOp.MAX, group=self.group)
            self.asked = asked.item() or None
        self.signal = self.asked

    def __bool__(self):
        return self.signal is not None

    def ignore(self):
        """Let no further request interrupt what saves the run."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def restore(self):
        """Give the signals back to their former handlers."""
        for number, handler in self.former.items():
            signal.signal(number, handler)


def leave_signals_to_parent(worker):
    """For loader processes: Ctrl-C reaches them, too, but they are needed until the iteration is
    done.

    When the program ends, run_script kills them.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
