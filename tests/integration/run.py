"""Runs the integration tests: each file test_*.py in a process and a process group of its own, some side by side.

A file holds unittest.TestCase classes and starts the servers that it needs through `support`. A file that ends without
telling about its tests, has none, or takes too long counts as one failure; a skipped test is a failure too. The closing line
is `N passed, N failed`; before it stand the seconds of each file, and the tests that failed the first time only.

ROLLCALL_TEST_BUILD=asan takes the program of that build. A file that a line `# release only: REASON` keeps out of it (it
measures time, or does not run the program) is named with the reason.

  run.py [--in DIR] [--jobs N] [--timeout S] [--logs DIR] [FILE or NAME…]
     FILE or NAME: only the files whose path or name holds one of these; NAME may be test_file.Class.method
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class _Told(unittest.TextTestResult):
    """Adds a line of JSON per finished test to the file named by ROLLCALL_TEST_TOLD."""

    def startTest(self, test):
        super().startTest(test)
        self._began = time.monotonic()
        self._troubles = len(self.failures) + len(self.errors) + len(self.skipped) + len(self.unexpectedSuccesses)

    def stopTest(self, test):
        troubles = len(self.failures) + len(self.errors) + len(self.skipped) + len(self.unexpectedSuccesses)
        _tell({"test": test.id(), "ok": troubles == self._troubles, "seconds": time.monotonic() - self._began})
        super().stopTest(test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIPPED, which counts as failed: {reason}", file=sys.stderr)

    def addError(self, test, error):
        super().addError(test, error)
        if isinstance(test, unittest.suite._ErrorHolder):  # setUpClass, tearDownModule, …
            _tell({"test": test.id(), "ok": False, "seconds": 0})


def _tell(row):
    with open(os.environ["ROLLCALL_TEST_TOLD"], "a") as out:
        out.write(json.dumps(row) + "\n")


def inside(path, names):
    """What the child process does."""
    sys.path.insert(0, str(Path(path).parent))
    # A time-out asks with SIGTERM first, so that servers are ended and `atexit` runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    module = Path(path).stem
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(names or [module])
    unittest.TextTestRunner(sys.stderr, verbosity=2, resultclass=_Told).run(suite)


def run_file(path, names, timeout, log):
    """(passed, [failed test ids], seconds)"""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile("r", prefix="rollcall-told-") as told, open(log, "w") as out:
        child = subprocess.Popen(
            [sys.executable, __file__, "--inside", str(path), *names], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, env={**os.environ, "ROLLCALL_TEST_TOLD": told.name, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        with _lock:
            _groups.add(child.pid)
        late = False
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            late = True
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                pass
            code = None
        finally:
            # Whatever it left: this group is ours alone.
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
            with _lock:
                _groups.discard(child.pid)
        rows = [json.loads(line) for line in told.read().splitlines()]
    name = path.stem
    failed = [row["test"] for row in rows if not row["ok"]]
    if late:
        failed.append(f"{name} (not done after {timeout:g} s)")
    elif code:
        failed.append(f"{name} (ended with {code})")
    elif not rows:
        failed.append(f"{name} (no test in it)")
    return sum(row["ok"] for row in rows), failed, time.monotonic() - began


def _told(path, result, logs, which=""):
    """Prints how a file's run went."""
    good, bad, seconds = result
    print(f"{'FAILED' if bad else 'ok':6}  {path.stem}  {good} passed, {len(bad)} failed  {seconds:.1f} s", flush=True)
    for test in bad:
        print(f"          {test}")
    if bad:
        log = logs / f"{path.stem}{which}.log"
        shown = log.relative_to(ROOT) if log.is_relative_to(ROOT) else log
        print(f"        the end of {shown}:")
        print("\n".join(f"          | {line}" for line in log.read_text(errors="replace").splitlines()[-40:]), flush=True)


def _slowest(rows):
    rows.sort(key=lambda row: -row[1])
    print("seconds  " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in rows))


_groups, _lock = set(), threading.Lock()


def _end_all(*_):
    for group in list(_groups):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os._exit(130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in", dest="folder", type=Path, default=HERE, help="folder (default tests/integration)")
    parser.add_argument("--jobs", type=int, default=2, help="files at a time (default 2)")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for one file (default 900)")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "test-logs" / "integration")
    parser.add_argument("--again", action="store_true", help="run a file that failed once more, alone; the second time counts")
    parser.add_argument("only", nargs="*")
    given = parser.parse_args()
    given.logs.mkdir(parents=True, exist_ok=True)

    jobs = []
    build = os.environ.get("ROLLCALL_TEST_BUILD", "release")
    for path in sorted(given.folder.resolve().glob("test_*.py")):
        names = [n for n in given.only if n.split(".")[0] == path.stem and "." in n and not n.endswith(".py")]
        if not given.only or names or any(n.removesuffix(".py") in str(path) for n in given.only):
            reason = re.search(r"^# release only: (.+)$", path.read_text(), flags=re.M)
            if reason and build != "release":
                print(f"        {path.stem} is for the release build only: {reason[1]}")
            else:
                jobs.append((path, names))
    if not jobs:
        print(f"no test file {' or '.join(given.only) or 'test_*.py'} in {given.folder}")
        print("0 passed, 1 failed")
        return 1

    signal.signal(signal.SIGTERM, _end_all)
    signal.signal(signal.SIGINT, _end_all)
    passed, failed = 0, []
    with ThreadPoolExecutor(max(1, given.jobs)) as pool:
        runs = [pool.submit(run_file, path, names, given.timeout, given.logs / f"{path.stem}.log") for path, names in jobs]
        results = [(path, names, run.result(), _told(path, run.result(), given.logs)) for (path, names), run in zip(jobs, runs)]
    flaky = []
    for path, names, (good, bad, _), _ in results:
        if bad and given.again:
            # Beside other tests, on a shared machine, seconds can be missing. What is broken fails alone as well.
            print(f"again   {path.stem}, alone", flush=True)
            first = bad
            result = run_file(path, names, given.timeout, given.logs / f"{path.stem}.again.log")
            good, bad, _ = result
            _told(path, result, given.logs, ".again")
            flaky += [test for test in first if test not in bad]
        passed += good
        failed += bad
    _slowest([(path.stem, result[2]) for path, _, result, _ in results])
    for test in flaky:
        print(f"flaky   {test} failed the first time, and passed alone")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
