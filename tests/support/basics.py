"""Folders, ports, waiting, and child processes that leave nothing behind."""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    """A port that nobody listens on. It lies below the range from which the kernel picks ports for outgoing connections,
    so a server that is stopped and started again finds its port free."""
    for _ in range(200):
        port = random.SystemRandom().randrange(10240, 32768)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 10240 and 32767")


def wait_until(condition, timeout=30.0, what="a condition", interval=0.02):
    """Calls `condition` until it returns something true, and returns that. `what` is told when the time is up; it may be a
    function, so that it can say what was there instead."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout:g} s for {what() if callable(what) else what}")
        time.sleep(interval)


def eventually(assertion, timeout=30.0, interval=0.05, errors=AssertionError):
    """Calls `assertion` until it raises none of `errors`, and returns what it returns; the last error stands when the time
    is up."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return assertion()
        except errors:
            if time.monotonic() >= deadline:
                raise
        time.sleep(interval)


def make_temp(name):
    """A temporary folder, removed at exit unless ROLLCALL_TEST_KEEP is set."""
    folder = Path(tempfile.mkdtemp(prefix=f"rollcall-test-{name}-"))
    if not os.environ.get("ROLLCALL_TEST_KEEP"):
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def remove(folder):
    if not os.environ.get("ROLLCALL_TEST_KEEP"):
        shutil.rmtree(folder, ignore_errors=True)


_children = set()


class Child:
    """One process, its output appended to a file. Ended by its id; whatever still runs at exit is killed."""

    def __init__(self, args, log, env=None, cwd=None, stdout=None):
        self.args = [str(a) for a in args]
        self.log = Path(log)
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                self.args, stdin=subprocess.DEVNULL, stdout=stdout if stdout is not None else out, stderr=out, env=env, cwd=cwd
            )
        _children.add(self)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def wait(self, timeout):
        """The exit status (negative: the signal that ended it)."""
        code = self.process.wait(timeout)
        _children.discard(self)
        return code

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(30)

    def terminate(self, timeout=30.0):
        """SIGTERM, and SIGKILL when that is not heeded in time. The exit status."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.args[0]} was still running {timeout:g} s after SIGTERM\n{self.tail()}") from None

    def tail(self, lines=30):
        return tail(self.log, lines)


def tail(path, lines=30):
    try:
        text = Path(path).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(f"    | {line}" for line in text[-lines:])


@atexit.register
def _kill_children():
    for child in list(_children):
        if child.running():
            child.process.kill()
            child.process.wait()
