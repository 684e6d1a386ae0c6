"""Stopping: Ctrl-C and SIGTERM ask, the loop answers when its iteration is done."""
import signal

import torch
import torch.distributed as dist

from utils import parallel


class Stop:
    """Whether the run was asked to stop. A second Ctrl-C is obeyed at once."""

    def __init__(self):
        self.signal = self.asked = None
        self.former = {one: signal.signal(one, self.ask) for one in (signal.SIGINT, signal.SIGTERM)}
        # Between processes on the host: whoever waits for it, it is not a GPU.
        self.group = dist.new_group(backend="gloo") if parallel.world() > 1 else None

    def ask(self, number, frame):
        self.asked = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def agree(self):
        """After each iteration: of several processes, all stop after the same one."""
        if self.group:
            asked = torch.tensor(self.asked or 0)
            dist.all_reduce(asked, dist.ReduceOp.MAX, group=self.group)
            self.asked = asked.item() or None
        self.signal = self.asked

    def __bool__(self):
        return self.signal is not None

    def over(self):
        """Give the signals back to whom they belonged."""
        for one, handler in self.former.items():
            signal.signal(one, handler)


def leave_signals_to_parent(worker):
    """For loader processes: Ctrl-C reaches them, too, but they are needed until the iteration is done."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
