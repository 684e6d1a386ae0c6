"""How a script ends: when it is done, when a signal asks for it, or when something goes wrong."""

import errno
import multiprocessing
import os
import re
import shlex
import signal
import sys
from contextlib import AbstractContextManager, contextmanager, suppress

import cv2
import torch
import torch.distributed as dist

from data.text import UserError
from utils import parallel

# Ctrl-C, a polite kill, and a terminal that was closed.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
MAX_LETTERS = 1000  # of an error
SIGPIPE = 13  # has no name on Windows
# Parts of the messages with which torch, oneDNN, NumPy, OpenCV and the system report that memory
# has run out; the last is of a library that cannot be loaded.
MEMORY_WORDS = ("DefaultCPUAllocator", "allocate memory", "bad_alloc", "Insufficient memory",
                "start new thread", "create a primitive", "failed to map segment")  # fmt: skip
OUT_OF_MEMORY = (
    "out of memory: a smaller --batch or --resize needs less, and so does a larger --accumulate of "
    "train.py (the same batch in more parts); what a run saved is kept, and --resume goes on"
)
LOADER_DIED = "a process that loads images died or hung (out of memory? try --workers 0)"
LOADER_TIMEOUT = 300  # seconds without a batch, after which the loader is taken for dead
LOADER_CHECK = 5  # seconds without a batch, after which its processes are looked at
# Signals that arrived before the run could answer them.
early_requests = []


class LoadingFailed(UserError):
    """A batch cannot be loaded: a process that loads images died, or an image cannot be read."""


class Stop(AbstractContextManager):
    """A flag that Ctrl-C and other signals raise; the loop looks at it before every iteration.

    A second signal does not wait for that: inside interruptible() it is a KeyboardInterrupt.
    Its block may end by that, by a LoadingFailed or by a BrokenPipeError, none of which is raised
    again: what follows the block can still save the run.
    """

    def __init__(self):
        self.signal = None  # as all processes agreed
        self.asked = early_requests[-1] if early_requests else None
        self.can_interrupt = False
        self.failure = None  # why a batch could not be loaded
        self.former = {number: signal.signal(number, self.ask) for number in SIGNALS}
        # By gloo, on the CPU: with nccl, each question would wait for the GPUs.
        self.group = dist.new_group(backend="gloo") if parallel.world_size() > 1 else None

    def ask(self, number, frame):
        is_second = self.asked is not None
        self.asked = number
        if is_second and self.can_interrupt:
            raise KeyboardInterrupt

    @contextmanager
    def interruptible(self):
        """For what may take long and changes no weights: a second signal interrupts it."""
        self.can_interrupt = True
        try:
            yield
        finally:
            self.can_interrupt = False

    @contextmanager
    def loading(self):
        """For the next batches: a second signal interrupts the wait. If a process was asked to stop
        or cannot load its part, all of them know it afterwards."""
        try:
            with self.interruptible():
                yield
        except LoadingFailed as error:
            self.failure = str(error)
        self.agree_with_other_processes()

    def agree_with_other_processes(self):
        """Let all processes stop after the same iteration, for the same reason."""
        agreed = self.asked
        if self.group:
            state = torch.tensor([self.asked or 0, self.failure is not None])
            dist.all_reduce(state, dist.ReduceOp.MAX, group=self.group)
            # A signal that arrives meanwhile is for the next time.
            agreed = state[0].item() or None
            if state[1]:
                failures = [None] * parallel.world_size()
                dist.all_gather_object(failures, self.failure, group=self.group)
                self.failure = next(filter(None, failures))
        if agreed and self.failure == LOADER_DIED:
            # Ctrl-C may have reached the process, too.
            self.failure = None
        self.signal = agreed
        self.asked = agreed or self.asked

    @contextmanager
    def ignoring_signals(self):
        """For what must not be disturbed."""
        former = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def exit_code(self, iteration, last):
        """Say after which iteration a run was stopped, and how to go on -> its exit code."""
        go_on = "nothing was saved"
        if last.exists():
            go_on = f"go on with: python train.py --resume {shlex.quote(str(last))}"
            if self.failure not in (None, LOADER_DIED):
                go_on += ", once the file is mended, or with --skip-bad"
        if self.failure and parallel.rank() > 0:
            return 2
        if self.failure:
            raise UserError(f"{self.failure}, after iteration {iteration}; {go_on}")
        print(f"stopped after iteration {iteration}; {go_on}")
        return 128 + self.signal

    def __bool__(self):
        # A process that is alone need not wait until all agree.
        is_asked = self.asked is not None and self.group is None
        return is_asked or self.signal is not None or self.failure is not None

    def __exit__(self, kind, error, traceback):
        if kind is LoadingFailed:
            self.failure = str(error)
        try:
            if kind in (None, LoadingFailed):
                self.agree_with_other_processes()
        finally:
            for number, handler in self.former.items():
                signal.signal(number, handler)
        if kind is KeyboardInterrupt:
            self.signal = self.asked or signal.SIGINT
        if kind is BrokenPipeError:
            # Whoever reads the output, such as head, has read enough.
            self.signal = SIGPIPE
        return kind in (KeyboardInterrupt, LoadingFailed, BrokenPipeError)


def read_batches(loader, device, memory_format=None):
    """A loader's batches, on the device; a LoadingFailed if the next one cannot be loaded.

    memory_format: by default, as images lie in memory while a network learns.
    """
    batches = iter(loader)
    memory_format = memory_format or parallel.training_format(device)
    # PyTorch would raise an error as soon as a process dies, in the middle of a step. Without its
    # handler, that is noticed here, when the next batch is asked for. (Windows has no such signal.)
    with suppress(ValueError, AttributeError):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    waited = 0
    while True:
        try:
            images, targets = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            # The timeout only lets DataLoader check whether all processes are alive, so ask again.
            waited += loader.timeout
            if "timed out" in str(error) and waited < LOADER_TIMEOUT:
                continue
            if "DataLoader" in str(error):
                raise LoadingFailed(LOADER_DIED) from None
            raise
        except (ConnectionError, EOFError):
            # It died between its message and the memory that the message tells of.
            raise LoadingFailed(LOADER_DIED) from None
        except UserError as mistake:
            # One that happened in a loader's process has that process's traceback before it.
            line = str(mistake).strip().splitlines()[-1]
            line = re.sub(r"^data\.text\.\w+: ", "", line)
            raise LoadingFailed(line) from None
        waited = 0
        # Images travel as bytes, a quarter of float32; the model normalises them on the device.
        images = images.to(device, non_blocking=True, memory_format=memory_format)
        for target in targets:
            for name in ("boxes", "labels", "ignore"):
                target[name] = target[name].to(device, non_blocking=True)
        yield images, targets


def leave_signals_to_parent(worker):
    """For processes that load images: Ctrl-C reaches them as well, but they are needed until the
    iteration is done. run_script ends them with the program."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def stop_early(number, frame):
    """Answer Ctrl-C before training starts: end at once. Should a library swallow the
    KeyboardInterrupt, Stop finds the request and ends before the first iteration."""
    early_requests.append(number)
    raise KeyboardInterrupt


def run_script(main):
    """Run a script and exit. A user's mistake is one line and exit code 2; a bug keeps its
    traceback."""
    signal.signal(signal.SIGINT, stop_early)
    for stream in (sys.stdout, sys.stderr):
        # A console's encoding may lack letters of a name. A notebook's stream has them all.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes its output once more at the end, and the pipe for it is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + SIGPIPE
    except UserError as mistake:
        # A value of a hostile file may be in it.
        line = " ".join(str(mistake).splitlines())[:MAX_LETTERS]
        print(f"error: {line}", file=sys.stderr)
        code = 2
    except (MemoryError, RuntimeError, OSError, ImportError, cv2.error) as error:
        line = OUT_OF_MEMORY
        if not is_out_of_memory(error):
            # A disk that fails where a file of ours is read.
            if getattr(error, "errno", None) != errno.EIO:
                raise
            line = f"{error.filename or 'a file'}: {error.strerror}"
        print(f"error: {line}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 128 + signal.SIGINT
    finally:
        # Processes that load images ignore signals, so they have to be killed.
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for process in multiprocessing.active_children():
            process.kill()
    sys.exit(code)


def is_out_of_memory(error):
    """Whether an error says that the computer's or the GPU's memory is used up."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        words in str(error) for words in MEMORY_WORDS
    )
