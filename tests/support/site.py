"""What the tests of the whole pipeline do again and again: its three processes, the example's clickstream, sending in the
background, small definitions."""

import csv
import datetime
import gzip
import json
import os
import random
import subprocess

from . import program
from .basics import ROOT, Child, make_temp
from .program import Installation
from .recompute import read_definitions

ECOM = ROOT / "examples" / "ecom"
ROLES = ("ingest", "materialize", "sink")
FULL = os.environ.get("ROLLCALL_ACCEPTANCE") == "full"
# A sanitized program takes several times as long.
SLOW = 1 if program.BUILD == "release" else 5


def seed_of_run(name):
    """A random.Random whose seed is printed, and may be given by ROLLCALL_TEST_SEED."""
    seed = int(os.environ.get("ROLLCALL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"{name}: ROLLCALL_TEST_SEED={seed}", flush=True)
    return random.Random(seed)


class Pipeline(Installation):
    """An Installation with the three consumers as three processes, once start_all() is called: pipeline.ingest, .materialize, .sink."""

    def start_all(self, **more):
        for role in ROLES:
            setattr(self, role, self.start(role, ready=False, **more))
        for role in ROLES:
            getattr(self, role).wait_ready()
            getattr(self, role).ready = True  # from now on start() waits
        return self

    @property
    def all(self):
        return [getattr(self, role) for role in ROLES]

    def define(self, *definitions, code=0, **more):
        """Applies definitions given as Python values."""
        return self.run("apply", "-f", self.write("defined.json", list(definitions)), "--json", code=code, **more)

    def send(self, *args, name="produce"):
        """`rollcall produce …` in the background."""
        return Sending(self, name, args)


class Sending:
    """A `produce` that runs beside the test. done() waits for its end and gives what it printed as JSON."""

    def __init__(self, site, name, args):
        self.log = site.folder / f"{name}.log"
        self.out = open(site.folder / f"{name}.out", "w+")
        command = [program.BINARY, "produce", *args, "--json", "--quiet", *program._settings(site.settings)]
        self.child = Child(command, self.log, env=program.environment(site.env), stdout=self.out)

    def running(self):
        return self.child.running()

    def done(self, timeout=300.0):
        try:
            code = self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise AssertionError(f"produce still ran after {timeout:g} s\n{self.child.tail()}") from None
        assert code == 0, f"produce ended with {code}\n{self.child.tail()}"
        self.out.seek(0)
        result = json.loads(self.out.read())
        self.out.close()
        return result

    def close(self):
        if self.child.running():
            self.child.kill()


# --- the example's clickstream


def ecom_definitions(grace=None):
    """(dataset, segments, audiences) of examples/ecom; `grace` replaces the dataset's."""
    (dataset,) = read_definitions(ECOM / "dataset.json")
    if grace:
        dataset["grace"] = grace
    return dataset, read_definitions(ECOM / "segments.json"), read_definitions(ECOM / "audiences.json")


def ecom_file():
    path = ROOT / "build" / "data" / "ecom.csv.gz"
    subprocess.run([ROOT / "scripts" / "fetch-ecom", path], check=True, stdout=subprocess.DEVNULL)
    return path


def ecom_parts(parts):
    """The file sorted by time and cut into files of equal time: [path]."""
    with gzip.open(ecom_file(), "rt", newline="") as source:
        reader = csv.DictReader(source)
        rows = sorted(reader, key=lambda row: row["timestamp"])
    folder = make_temp("ecom")
    first, last = rows[0]["timestamp"], rows[-1]["timestamp"]
    edges = [_between(first, last, n / parts) for n in range(1, parts)]
    paths = []
    for n in range(parts):
        path = folder / f"part-{n + 1}.csv"
        with open(path, "w", newline="") as out:
            writer = csv.DictWriter(out, reader.fieldnames)
            writer.writeheader()
            writer.writerows(row for row in rows if sum(row["timestamp"] >= edge for edge in edges) == n)
        paths.append(path)
    return paths


def _between(first, last, share):
    a, b = map(datetime.datetime.fromisoformat, (first, last))
    return str((a + (b - a) * share).replace(microsecond=0))


# --- small definitions


def dataset(id="web", **more):
    """A JSON dataset: person `user` in the namespace `id`, timestamp `ts` in ms, string fields type and page, decimal amount, long n."""
    return {"kind": "dataset", "id": id, "topic": f"{id}.events", "format": "json",
            "person": {"namespace": "id", "id": {"path": "user"}}, "timestamp": {"path": "ts"},
            "fields": {"type": {"path": "type", "type": "string"}, "page": {"path": "page", "type": "string"},
                       "amount": {"path": "amount", "type": "decimal", "min": 0}, "n": {"path": "n", "type": "long"}}, **more}  # fmt: skip


def segment(id, where, dataset="web", **more):
    return {"kind": "segment", "id": id, "dataset": dataset, "where": where, **more}


def audience(id, where=None, **more):
    """Over the segment of the same id unless told otherwise."""
    return {"kind": "audience", "id": id, "where": where or {"segment": id}, **more}


def of_type(value, **more):
    """The condition that there is an event of a type."""
    return {"event": {"field": "type", "eq": value}, **more}


def event(user, ts, type="view", **more):
    """(key, value) of a record of dataset()."""
    return f"id:{user}".encode(), json.dumps({"user": user, "ts": ts, "type": type, **more}).encode()
