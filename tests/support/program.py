"""The program under test: commands that end, and processes that run until they are told to stop, or shot."""

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .basics import ROOT, Child, free_port, make_temp, remove, wait_until

# scripts/test runs the same tests over the release and the sanitized program (ROLLCALL_TEST_BUILD=asan: build/asan/rollcall).
# ROLLCALL_TEST_BINARY names a program that was built elsewhere.
BUILD = os.environ.get("ROLLCALL_TEST_BUILD", "release")
BINARY = Path(os.environ.get("ROLLCALL_TEST_BINARY") or ROOT / "build" / ("rollcall" if BUILD == "release" else f"{BUILD}/rollcall"))

# A sanitizer's report must fail the test that provoked it: the exit status is one that the program never uses itself.
SANITIZER_STATUS = 99
_ENVIRONMENT = {
    "ASAN_OPTIONS": f"exitcode={SANITIZER_STATUS}:detect_leaks=1:abort_on_error=0",
    "LSAN_OPTIONS": f"exitcode={SANITIZER_STATUS}:print_suppressions=0",
    "UBSAN_OPTIONS": f"halt_on_error=1:exitcode={SANITIZER_STATUS}:print_stacktrace=1",
    "TSAN_OPTIONS": f"exitcode={SANITIZER_STATUS}:halt_on_error=0",
}
_REPORT = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:")


def environment(extra=None):
    """This process's environment less any ROLLCALL_* of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ROLLCALL_")}
    for key, value in _ENVIRONMENT.items():
        kept[key] = f"{kept[key]}:{value}" if kept.get(key) else value
    return {**kept, "TZ": "UTC", **(extra or {})}


def _settings(settings):
    """{"state.dir": x} → --set state.dir=x …"""
    out = []
    for key, value in (settings or {}).items():
        value = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
        out += ["--set", f"{key}={value}"]
    return out


@dataclass
class Result:
    args: list
    code: int
    out: str
    err: str

    @property
    def rows(self):
        """stdout as JSON, one object a line."""
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]

    @property
    def json(self):
        """stdout as one JSON object."""
        (only,) = self.rows
        return only

    def __str__(self):
        return f"{' '.join(map(str, self.args))}\nexit {self.code}\nstdout:\n{self.out}\nstderr:\n{self.err}"


def rollcall(*args, settings=None, code=0, input=None, env=None, cwd=None, timeout=60.0):
    """Runs a command to its end. `code`: the exit status that is expected (a number, several, or None for any)."""
    command = [str(BINARY), *map(str, args), *_settings(settings)]
    try:
        done = subprocess.run(command, input=input if input is not None else "", text=True, capture_output=True, timeout=timeout,
                              env=environment(env), cwd=cwd, errors="surrogateescape")  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{' '.join(command)} still ran after {timeout:g} s\nstdout: {late.stdout}\nstderr: {late.stderr}") from None
    result = Result(command, done.returncode, done.stdout, done.stderr)
    assert not _REPORT.search(done.stderr), f"a sanitizer reports:\n{result}"
    wanted = None if code is None else code if isinstance(code, (list, tuple, set)) else (code,)
    assert wanted is None or done.returncode in wanted, f"expected exit {code}:\n{result}"
    return result


class Rollcall:
    """A long-running rollcall process.

    with Rollcall("ingest", settings={…}) as ingest: waits until /readyz says yes, stops with SIGTERM and expects exit 0.
    kill() is kill -9; start() afterwards starts it again with the same settings and state.dir. pause()/resume() are
    SIGSTOP/SIGCONT. The log (stderr) of all starts is in `log`; `output` is stdout.
    """

    def __init__(self, *args, settings=None, env=None, name=None, folder=None, ready=True, timeout=60.0):
        self.args = list(args)
        self.name = name or args[0]
        self._own_folder = folder is None
        self.folder = Path(folder) if folder else make_temp(self.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = {"state.dir": self.folder / "state", **(settings or {})}
        self.env = env
        self.ready = ready
        self.timeout = timeout
        self.log = self.folder / f"{self.name}.log"
        self.output = self.folder / f"{self.name}.out"
        self.child = None
        # The address stays the same over restarts. Given (or deliberately left to the program) by the settings.
        if "http.listen" not in self.settings:
            self.settings["http.listen"] = f"127.0.0.1:{free_port()}"
        self.http = self.settings["http.listen"]

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        try:
            if self.child:
                self.terminate() if kind is None else self.kill()
        finally:
            if kind is not None:
                print(f"--- the end of {self.name}'s log\n{self.tail(60)}", flush=True)
            if self._own_folder:
                remove(self.folder)

    def start(self, **settings):
        assert self.child is None, f"{self.name} runs already"
        self.settings.update(settings)
        with open(self.output, "ab") as out:
            self.child = Child([BINARY, *self.args, *_settings(self.settings)], self.log, env=environment(self.env), stdout=out)
        if self.ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=None):
        wait_until(self.is_ready, timeout or self.timeout, lambda: f"{self.name} to be ready:\n{self.tail()}")
        return self

    def is_ready(self):
        assert self.child.running(), f"{self.name} ended with {self.child.process.returncode}:\n{self.tail()}"
        return self.get("/readyz")[0] == 200

    def get(self, path, timeout=5.0):
        """(status, body) of the admin port; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)

    def metrics(self):
        """{"name{label=\\"x\\"}": number} of /metrics."""
        status, body = self.get("/metrics")
        assert status == 200, f"/metrics: {status} {body}"
        rows = (line.rpartition(" ") for line in body.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}

    def metric(self, name, **labels):
        """The sum of a metric's series that have these labels."""
        total = 0.0
        for series, value in self.metrics().items():
            family, _, inner = series.partition("{")
            if family == name and all(f'{key}="{wanted}"' in inner for key, wanted in labels.items()):
                total += value
        return total

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child is not None and self.child.running()

    def terminate(self, code=0, timeout=30.0):
        """SIGTERM; the exit status must be `code` (None: any)."""
        child, self.child = self.child, None
        got = child.terminate(timeout)
        self.check_log()
        assert code is None or got == code, f"{self.name} ended with {got}, not {code}:\n{self.tail()}"
        return got

    def wait(self, code=0, timeout=30.0):
        """Waits for it to end by itself."""
        child = self.child
        try:
            got = child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still ran after {timeout:g} s:\n{self.tail()}") from None
        self.child = None
        self.check_log()
        assert code is None or got == code, f"{self.name} ended with {got}, not {code}:\n{self.tail()}"
        return got

    def kill(self):
        child, self.child = self.child, None
        if child:
            child.kill()
            self.check_log()

    def pause(self):
        self.child.signal(signal.SIGSTOP)

    def resume(self):
        self.child.signal(signal.SIGCONT)

    def hangup(self):
        self.child.signal(signal.SIGHUP)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def output_rows(self):
        """stdout so far as JSON, one object a line (an unfinished last line left out)."""
        text = self.output.read_text(errors="surrogateescape") if self.output.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n") and line.strip()]

    def check_log(self):
        assert not _REPORT.search(self.log_text()), f"a sanitizer reports in {self.name}:\n{self.tail(120)}"

    def tail(self, lines=40):
        return "\n".join(f"    | {line}" for line in self.log_text().splitlines()[-lines:])


class Installation:
    """One pipeline on a broker: the settings that all its processes and commands share.

    site = Installation(kafka, redis); site.run("apply", "-f", path); ingest = site.start("ingest").
    Everything started is stopped by close() or the with statement, the last one first.
    """

    def __init__(self, kafka=None, redis=None, settings=None, env=None):
        self.folder = make_temp("installation")
        self.env = env
        self.settings = {}
        if kafka:
            self.settings["kafka.bootstrap.servers"] = kafka.bootstrap
        if redis:
            self.settings["sink.default"] = redis.url
        self.settings.update(settings or {})
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        try:
            for process in reversed(self.processes):
                process.__exit__(kind, *rest)
        finally:
            for process in self.processes:
                process.kill()
            remove(self.folder)

    def close(self):
        self.__exit__(None)

    def start(self, *args, name=None, settings=None, **more):
        """Starts a process; two of one role need different names. Its state.dir is kept over kill() and start()."""
        name = name or args[0]
        assert name not in [p.name for p in self.processes], f"there is a process {name} already"
        process = Rollcall(*args, name=name, folder=self.folder / name, settings={**self.settings, **(settings or {})}, env=self.env, **more)
        self.processes.append(process)
        return process.start()

    def run(self, *args, settings=None, **more):
        """A command to its end; see rollcall(). `state.dir` is one of its own unless given."""
        merged = {**self.settings, **(settings or {})}
        return rollcall(*args, settings=merged, env=self.env, **more)

    def write(self, name, value):
        """Writes a definition (JSON unless it is text) into the installation's folder and gives the path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1))
        return path
