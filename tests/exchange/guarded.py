"""Reading files in a process of its own, under limits of memory and time; run as a script, it is that process."""

import contextlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = ["FINE", "Reader"]

MEMORY = 1 << 30  # bytes that reading may add to the address space
GROWTH = 1 << 26  # bytes that one file may add to what is in memory
SECONDS = 20  # of computing for one file
PATIENCE = 300  # seconds until a process without an answer is ended, where the computer is busy with other things
FINE = ("refused", "read")


class Reader:
    """Reads files in another process, and begins a new one where that is lost."""

    def __init__(self):
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stop()

    def _stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def read(self, path):
        """Outcome, message and bytes of memory: one of ``FINE``, or a word for what must not be."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        process = self._process
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        late = not timer.is_alive()
        timer.cancel()
        if answer:
            return tuple(json.loads(answer))
        self._stop()
        late = late or process.returncode == -getattr(signal, "SIGXCPU", 0)
        return "hang" if late else "crash", f"exit code {process.returncode}", 0


# --- in the other process --------------------------------------------------------------------------------------------


def equal(one, other):
    """Whether two entries are the same."""
    pairs = [(one.fields, other.fields), (one.neuron or {}, other.neuron or {})]
    return one.type == other.type and all(
        here.keys() == there.keys() and all(np.array_equal(here[name], there[name]) for name in here)
        for here, there in pairs
    )


def outcome(path):
    """Read a file, and print it as ``lavadl-lite info`` does; a network that comes out is written and read again."""
    from lavadl_lite import cli, netx
    from lavadl_lite.errors import ExchangeError

    printed, told = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
            code = cli.main(["info", str(path)])
        network = netx.load(path)
    except ExchangeError as error:
        message = str(error)
        if isinstance(error.__cause__, MemoryError):
            return "memory", message
        if not message.startswith(("/ attribute ", "/layer", f"{path}: ")):
            return "no place", message
        if len(message) > 1000 or not message.isprintable():
            return "message", message
        if (code, printed.getvalue()) != (2, "") or told.getvalue().count("\n") != 1:
            return "info", told.getvalue()
        return "refused", message
    except Exception as error:  # noqa: BLE001
        return type(error).__name__, str(error)
    if code or not printed.getvalue() or told.getvalue():
        return "info", told.getvalue()
    again = path.with_suffix(".again")
    netx.save(network, again)
    if not all(map(equal, network.layers, netx.load(again).layers)):
        return "half built", "not what was written"
    return "read", ""


def most_memory():
    """The most that this process has had in memory, in bytes; in Linux since :func:`limit`."""
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def limit(seconds):
    """End the process after so many seconds of computing from here, and count its memory from here."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if resource is not None:
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds, hard))


def main():
    outcome(Path(__file__))  # what reading needs once is there from here on
    if resource is not None and sys.platform == "linux":
        size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    answers = sys.stdout
    for line in sys.stdin:
        limit(SECONDS)
        before = most_memory()
        found = outcome(Path(line.rstrip("\n")))
        grown = most_memory() - before
        if grown > GROWTH:
            found = "memory", f"{grown} bytes"
        answers.write(json.dumps([*found, grown]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
