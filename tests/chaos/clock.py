"""Processes whose clock can be stepped while they run: libfaketime on the child alone, told through a file that it looks at every second."""

import functools
import glob
import os
import subprocess

from support import ROOT

HERE = ROOT / "tests" / "chaos"
LOOKS_AGAIN_S = 1


@functools.cache
def _libraries():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        raise RuntimeError("no libfaketime: run scripts/bootstrap --tests")
    built = ROOT / "build" / "chaos" / "waits.so"
    built.parent.mkdir(parents=True, exist_ok=True)
    fresh = built.with_name(f"waits-{os.getpid()}.so")
    subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", fresh, HERE / "waits.c"], check=True)
    os.replace(fresh, built)
    return f"{built}:{found[0]}"


class Clock:
    """clock.env is what the process is started with; clock.step(2.5) puts its wall clock 2.5 s ahead of the true one, step(0) right again.
    It takes effect within LOOKS_AGAIN_S. Monotonic clocks are never touched."""

    def __init__(self, file):
        self.file = file
        self.step(0)
        self.env = {"LD_PRELOAD": _libraries(), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_CACHE_DURATION": str(LOOKS_AGAIN_S),
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}  # fmt: skip

    def step(self, seconds):
        fresh = self.file.with_suffix(".next")
        fresh.write_text(f"{seconds:+.3f}\n")
        os.replace(fresh, self.file)

    @staticmethod
    def forget(pid):
        """libfaketime leaves shared memory behind when its process is killed."""
        for path in (f"/dev/shm/sem.faketime_sem_{pid}", f"/dev/shm/faketime_shm_{pid}"):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
