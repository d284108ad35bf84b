#!/usr/bin/env python3
"""Runs the 46 canonical segments (examples/segments) over events that make them true and false again.

usage: run.py ROLLCALL [SEGMENT...]

Each SEGMENT.json here holds one segment's story, written by hand from what the segment is to mean, not from what some program
printed: persons with their events, and the changes of membership that `rollcall eval --timeline` must print for them.

    "segment":  its id                      "start":  the instant 0s (RFC 3339; left out: a Monday noon in Los Angeles)
    "until":    the timeline's end          "stays":  true: nobody ever leaves, by the nature of the condition
    "persons":  {what happens: {"events": [[when, (dataset,) {field: value}]…], "changes": [[when, status, cause]…]}}

`when` is a sum of durations after the start ("7d", "1d+30m+1ms", "23h-1ms"). The dataset is web unless it is named; an event's fields are
those of examples/segments/datasets.json, put where their paths say. Cause `time` says that the person has no event at that instant,
`event` that there is one.

Of each story it is checked that
- the timeline is the written one, to the millisecond;
- tests/naive/naive.py, which is written from the specification alone, says the same of the story, for all segments;
- the live engine, fed in the order of arrival and restarted after every event, has the same members at the end;
- the story tells enough: somebody enters, somebody leaves (or the story says that nobody can), somebody never enters, and a segment that
  moves by time alone does so.
Every example must have a story. A check is one of these of one story; the last line is `N passed, N failed`.
"""
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
EXAMPLES = os.path.join(ROOT, "examples", "segments")
NAIVE = [sys.executable, os.path.join(ROOT, "tests", "naive", "naive.py")]
START = "2026-03-02T20:00:00Z"
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
# Those of the 46 that enter or leave by time alone.
BY_TIME = {*range(1, 12), 14, 15, 16, 17, 38, 39, 44, 46}


def after_ms(when):
    """The ms that "1d+30m-1ms" stands for."""
    if not re.fullmatch(r"\d+(ms|[smhdw])([+-]\d+(ms|[smhdw]))*", when):
        raise ValueError(f"{when!r} is no sum of durations")
    return sum(int(sign + n) * UNITS_MS[unit] for sign, n, unit in re.findall(r"([+-]?)(\d+)(ms|[smhdw])", when))


def put(record, path, value):
    """Sets the value at the path's place in the record."""
    *outer, last = path.split(".")
    for name in outer:
        record = record.setdefault(name, {})
    record[last] = value


def record_of(dataset, person, event_id, timestamp_ms, fields):
    """The JSON record that the dataset's definition projects to these fields."""
    record = {"_id": event_id, "timestamp": timestamp_ms, "identity": {"namespace": "story", "id": person}}
    for name, value in fields.items():
        if name in dataset.get("elements", {}):
            array = dataset["elements"][name]
            elements = [{} for _ in value]
            for element, told in zip(elements, value):
                for inner, x in told.items():
                    put(element, array["fields"][inner]["path"], x)
            put(record, array["path"], elements)
        else:
            put(record, dataset["fields"][name]["path"], value)
    return record


class Story:
    def __init__(self, told, datasets):
        self.segment, self.persons, self.stays = told["segment"], told["persons"], told.get("stays", False)
        start = datetime.datetime.fromisoformat(told.get("start", START).replace("Z", "+00:00"))
        self.start_ms = int(start.timestamp()) * 1000
        self.until_ms = self.at(told["until"])
        self.by_dataset, self.happened, self.rows, self.faults = {}, {}, [], []
        for person, both in self.persons.items():
            self.happened[person] = set()
            for number, (when, *dataset, fields) in enumerate(both["events"], 1):
                name = dataset[0] if dataset else "web"
                record = record_of(datasets[name], person, f"{person}/{number:02}", self.at(when), fields)
                self.by_dataset.setdefault(name, []).append(record)
                self.happened[person].add(self.at(when))
            for when, status, cause in both["changes"]:
                if cause != ("event" if self.at(when) in self.happened[person] else "time"):
                    self.faults.append(f"{person}: the change at {when} is not by {cause}")
                self.rows.append({"segment": self.segment, "namespace": "story", "id": person, "status": status, "since": self.at(when)})
        self.rows.sort(key=lambda r: (r["since"], r["id"].encode()))

    def at(self, when):
        return self.start_ms + after_ms(when)

    def tells_enough(self):
        faults = list(self.faults)
        changes = [c for both in self.persons.values() for c in both["changes"]]
        exits = any(status == "exited" for _, status, _ in changes)
        if not any(status == "realized" for _, status, _ in changes):
            faults.append("nobody enters")
        if exits == self.stays:
            faults.append("somebody leaves, but `stays` says that nobody can" if exits else "nobody leaves, and `stays` does not say why")
        if int(self.segment[:2]) in BY_TIME and not any(cause == "time" for _, _, cause in changes):
            faults.append("nothing happens by time alone")
        # of "known, and nothing for so long" everybody becomes a member some day
        if all(both["changes"] for both in self.persons.values()) and int(self.segment[:2]) not in (6, 39):
            faults.append("there is nobody who stays outside")
        return "; ".join(faults)


def run(command):
    p = subprocess.run(command, capture_output=True, timeout=60)
    if p.returncode or p.stderr:
        raise RuntimeError(f"{' '.join(command[:3])} …: exit {p.returncode}: {p.stderr.decode(errors='replace').strip()[-400:]}")
    return [json.loads(line) for line in p.stdout.splitlines()]


def difference(wanted, got, start_ms):
    """The rows that one side has alone, with times as the story tells them; empty when there are none."""
    def text(row):
        instant = row.get("since", row.get("at")) - start_ms
        days, rest = divmod(instant, UNITS_MS["d"])
        return f"{row['segment']} {row['id']!r}: {row.get('status', 'member')} at {days}d+{rest}ms"
    lines = [f"    want {text(row)}" for row in wanted if row not in got] + [f"    got  {text(row)}" for row in got if row not in wanted]
    return lines or (["    the order differs"] if wanted != got else [])


def check(story, rollcall):
    """{what was checked: faults as lines} of one story."""
    with tempfile.TemporaryDirectory(prefix="rollcall-canonical-") as folder:
        arguments = ["eval", "-f", EXAMPLES]
        for dataset, records in story.by_dataset.items():
            path = os.path.join(folder, f"{dataset}.jsonl")
            with open(path, "w", encoding="utf-8") as f:
                f.writelines(json.dumps(record) + "\n" for record in records)
            arguments += ["--events", f"{dataset}={path}"]
        timeline = arguments + ["--timeline", "--until", str(story.until_ms)]
        got = run([rollcall, *timeline])
        naive = run([*NAIVE, *timeline])
        live = run([rollcall, *arguments, "--at", str(story.until_ms), "--restart-every", "1"])
    inside = {}
    for row in naive:
        inside[row["segment"], row["id"]] = row["status"] == "realized"
    members = [{"at": story.until_ms, "segment": s, "namespace": "story", "id": p} for s, p in sorted(k for k, v in inside.items() if v)]
    return {
        "the timeline": difference(story.rows, [row for row in got if row["segment"] == story.segment], story.start_ms),
        "all segments against the naive evaluator": difference(naive, got, story.start_ms),
        "the live engine, restarted after every event": difference(members, live, story.start_ms),
    }


def main():
    if len(sys.argv) < 2:
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 64
    rollcall, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    definitions = []
    for name in sorted(os.listdir(EXAMPLES)):
        with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
            found = json.load(f)
        definitions += found if isinstance(found, list) else [found]
    datasets = {d["id"]: d for d in definitions if d["kind"] == "dataset"}
    segments = [d["id"] for d in definitions if d["kind"] == "segment"]
    passed = failed = 0

    def tell(what, faults):
        nonlocal passed, failed
        passed, failed = passed + (not faults), failed + bool(faults)
        if faults:
            print(f"FAILED {what}", *faults, sep="\n", flush=True)

    if not wanted:
        missing = sorted(set(range(1, 47)) - {int(s[:2]) for s in segments})
        tell("examples/segments", [f"    there is no number {n}" for n in missing])
        extra = {n[:-5] for n in os.listdir(HERE) if n.endswith(".json")} - set(segments)
        tell("tests/canonical", [f"    {name}.json: there is no such segment" for name in sorted(extra)])
    for segment in wanted or segments:
        try:
            with open(os.path.join(HERE, f"{segment}.json"), encoding="utf-8") as f:
                told = json.load(f)
            if told["segment"] != segment:
                raise ValueError(f"it tells of {told['segment']}")
            story = Story(told, datasets)
            tell(f"{segment}: the story tells enough", [f"    {fault}" for fault in [story.tells_enough()] if fault])
            for what, faults in check(story, rollcall).items():
                tell(f"{segment}: {what}", faults)
        except (OSError, ValueError, KeyError, RuntimeError, subprocess.TimeoutExpired) as e:
            tell(segment, [f"    {type(e).__name__}: {e}"])
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
