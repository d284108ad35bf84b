"""What ought to be true, recomputed by the naive evaluator (tests/naive) from the events as they lie on the topics, and what the
pipeline made of them: its changes on Kafka, its profiles in Redis.

    truth = Recomputation(definitions, kafka)           the definitions as read from JSON, topics read to their present ends
    seen = Changes(kafka)                               rollcall.memberships
    assert_same_changes(truth, seen, until)             no false change, none missing
    assert_versions(seen)                               no version with two contents, a receiver never goes back
    assert_store(truth, snapshot(redis), at)            each person and audience, in the profile store
"""

import datetime
import json
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

from .basics import ROOT
from .topics import decode, read_all

sys.path.insert(0, str(ROOT / "tests" / "naive"))
import naive  # noqa: E402

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def now_ms():
    return time.time_ns() // 1_000_000


def to_ms(moment):
    """An aware datetime, as fastavro gives timestamps, in ms since the epoch."""
    return (moment - EPOCH) // datetime.timedelta(milliseconds=1)


def rfc3339_ms(text):
    return to_ms(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")))


def percentile(values, share):
    """The value that `share` (0…1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def read_definitions(*paths):
    """The definitions of JSON files, numbers exactly as written."""
    return naive.read_definitions([str(path) for path in paths])


# --- what is true


class Recomputation:
    """M of every segment and audience over the events of the dataset topics.

    `decoders`: {dataset: a function that takes the value's bytes and gives the record}, for datasets that are not JSON.
    `skip(record)` says which Kafka records are known to be no events (they are in the dead letters).
    """

    def __init__(self, definitions, kafka, decoders=None, skip=None):
        self.evaluator = naive.load_definitions(definitions)
        self.records = {}  # dataset: [Record]
        self.bad = []
        for dataset in self.evaluator.datasets.values():
            records = [r for r in read_all(kafka, dataset["topic"]) if not (skip and skip(r))]
            decoder = (decoders or {}).get(dataset["id"]) or _from_json
            self.bad += self.evaluator.accept(
                dataset["id"],
                [_value(decoder, r) for r in records],
                event_ids=[_position(r) for r in records],
                kafka=[_seen_by_sources(r) for r in records],
            )
            self.records[dataset["id"]] = records

    def events(self):
        return sum(len(own) for own in self.evaluator.events.values())

    def timeline(self, until):
        """{(audience, (namespace, id), status, since)} of every change up to `until`, included."""
        rows = self.evaluator.audience_timeline(until)
        return {(r["audience"], (r["namespace"], r["id"]), r["status"], r["since"]) for r in rows}

    def segment_timeline(self, until):
        """The same of segments."""
        rows = self.evaluator.timeline(until)
        return {(r["segment"], (r["namespace"], r["id"]), r["status"], r["since"]) for r in rows}


def _from_json(raw):
    return naive.parse_records([raw])[0]


def _value(decoder, record):
    if record.value is None:
        return None
    try:
        return decoder(record.value)
    except Exception as error:  # whatever it is, the record cannot be read, hence bad
        return error


def _position(record):
    """Where the record first lay: one that was sent again from the dead letters stands for the one that it was."""
    partition, offset = record.partition, record.offset
    if record.headers.get("rollcall.topic") == record.topic.encode():
        partition, offset = (int(record.headers[f"rollcall.{part}"]) for part in ("partition", "offset"))
    return f"{record.topic}:{partition:020}:{offset:020}"


def _seen_by_sources(record):
    def text(raw):
        return None if raw is None else raw.decode(errors="replace")

    return {"key": text(record.key), "timestamp": record.timestamp, "headers": {k: text(v) for k, v in record.headers.items()}}


def standing(timeline, at):
    """{(audience, person): (status, since)}: the last change of each up to `at`."""
    latest = {}
    for audience, person, status, since in timeline:
        if since <= at and since > latest.get((audience, person), ("", -(1 << 62)))[1]:
            latest[audience, person] = (status, since)
    return latest


# --- what the pipeline said


@dataclass(frozen=True)
class Change:
    target: str  # audience or segment
    person: tuple  # (namespace, id)
    status: str
    since: int
    version: int
    cause: str
    emitted: int
    event_id: str
    event_time: int
    partition: int
    offset: int

    @property
    def what(self):
        return (self.target, self.person, self.status, self.since)


class Changes(list):
    """Every change on <prefix>.memberships, or <prefix>.segments, in the order of each partition; tombstones left out.
    `committed`: as a reader of committed records sees it."""

    def __init__(self, kafka, topic="rollcall.memberships", start=None, committed=False):
        name, target = ("segment_membership", "segment") if topic.endswith(".segments") else ("membership", "audience")
        super().__init__()
        for r in read_all(kafka, topic, start, committed):
            if r.value is None:
                continue
            v = decode(name, r.value)
            if v[target].startswith("_live."):
                continue  # about a segment, not a person (consumers/shared/live.h)
            self.append(
                Change(v[target], (v["namespace"], v["personId"]), v["status"], to_ms(v["since"]), v["version"], v["cause"],
                       to_ms(v["emittedAt"]), v["eventId"], v["eventTime"] and to_ms(v["eventTime"]), r.partition, r.offset)
            )  # fmt: skip


def counts(timeline):
    """{audience: (entries, exits)}."""
    found = Counter((audience, status) for audience, _, status, _ in timeline)
    return {a: (found[a, "realized"], found[a, "exited"]) for a in sorted({key[0] for key in found})}


def _some(rows, describe=str, most=12):
    rows = sorted(rows, key=lambda row: (row[3], row)) if rows and isinstance(rows[0], tuple) else list(rows)
    return "".join(f"\n    {describe(row)}" for row in rows[:most]) + (f"\n    … {len(rows)} in all" if len(rows) > most else "")


def assert_same_changes(truth, seen, until, timeline=None, excused=()):
    """Every change that was emitted with a `since` up to `until` is one of M's, and the other way round. `excused`: persons that are
    left out, because an event of theirs came late."""
    timeline = truth.timeline(until) if timeline is None else timeline
    inside = lambda what: what[3] <= until and what[1] not in excused  # noqa: E731
    wanted = {what for what in timeline if inside(what)}
    emitted = {change.what for change in seen if inside(change.what)}
    by_what = {change.what: change for change in seen}
    false, missing = emitted - wanted, wanted - emitted
    assert not false and not missing, (
        f"{len(wanted)} changes are true, {len(emitted)} were emitted"
        f"\n  false: {_some(list(false), lambda w: _told(by_what[w], timeline))}"
        f"\n  missing: {_some(list(missing), lambda w: _wanted(w, seen))}"
    )
    return len(wanted)


def _told(change, timeline):
    own = sorted(w[2:][::-1] for w in timeline if w[:2] == (change.target, change.person) and abs(w[3] - change.since) < 60000)
    return (f"{change.target} {change.person[1]} {change.status} since {change.since} v{change.version:x} {change.cause}"
            f" emitted +{change.emitted - change.since}; true: {own[:6]}")  # fmt: skip


def _wanted(what, seen):
    own = sorted((c.since, c.status, hex(c.version)) for c in seen if c.what[:2] == what[:2] and abs(c.since - what[3]) < 60000)
    return f"{what[0]} {what[1][1]} {what[2]} since {what[3]}; emitted: {own[:6]}"


def assert_versions(seen, in_time=True):
    """No (audience, person, version) has two contents. With `in_time` (no event came late): a receiver that keeps the highest version
    never goes back, in whatever order it reads, and a change that was sent again carried the version that it had. (A late event may
    give a change another instant, and bring one back that was withdrawn.)"""
    contents, versions, own = {}, defaultdict(set), defaultdict(dict)
    for c in seen:
        assert 0 <= c.version < 1 << 53, c
        first = contents.setdefault((c.target, c.person, c.version), c)
        assert first.what == c.what, f"one version, two contents:\n  {first}\n  {c}"
        versions[c.what].add(c.version)
        own[c.target, c.person][c.version] = c
    for by_version in own.values():
        ordered = [by_version[v] for v in sorted(by_version)]
        for before, after in zip(ordered, ordered[1:]) if in_time else ():
            assert after.since >= before.since, f"a receiver goes back in time:\n  {before}\n  {after}"
    twice = {what: sorted(map(hex, v)) for what, v in versions.items() if len(v) > 1}
    assert not in_time or not twice, f"{len(twice)} changes came again with another version: {list(twice.items())[:5]}"
    return len(contents)


# --- the profile store

_SNAPSHOT = """
local out, cursor = {}, '0'
repeat
  local found = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 10000)
  cursor = found[1]
  for _, key in ipairs(found[2]) do out[#out + 1] = key; out[#out + 1] = redis.call('HGETALL', key) end
until cursor == '0'
return out
"""


def snapshot(redis, prefix="rollcall"):
    """{(audience, (namespace, id)): {"status", "since", "version"}} of all profiles at one instant, and that instant: (dict, ms)."""
    start = f"{prefix}:profile:"
    flat = redis.client("EVAL", _SNAPSHOT, 0, start + "*")
    at = now_ms()
    found = {}
    for key, fields in zip(flat[::2], flat[1::2]):
        namespace, _, person = key.decode()[len(start) :].partition(":")  # namespaces of these tests hold no colon
        for name, value in zip(fields[::2], fields[1::2]):
            name = name.decode()
            if name.startswith("segmentMembership."):
                v = json.loads(value)
                assert set(v) == {"status", "lastQualificationTime", "version"}, v
                found[name.partition(".")[2], (namespace, person)] = {
                    "status": v["status"], "since": rfc3339_ms(v["lastQualificationTime"]), "version": v["version"]
                }  # fmt: skip
    return found, at


def store_differences(timeline, store, at, slack_ms):
    """Where the store is not as M is. A change that became due within `slack_ms` before `at` may be there or not yet."""
    sure, newest = standing(timeline, at - slack_ms), standing(timeline, at)
    wrong = []
    for key in sorted(set(newest) | set(store), key=str):
        got = (store[key]["status"], store[key]["since"]) if key in store else None
        between = {(w[2], w[3]) for w in timeline if w[:2] == key and at - slack_ms < w[3] <= at} if newest.get(key) != sure.get(key) else set()
        if got != sure.get(key) and got not in between:
            wrong.append(f"{key[0]} {key[1][1]}: is {got}, should be {sure.get(key)} or {sorted(between)}")
    return wrong


def assert_store(timeline, store, at, slack_ms):
    wrong = store_differences(timeline, store, at, slack_ms)
    assert not wrong, f"{len(wrong)} memberships in the store differ from the recomputation:\n    " + "\n    ".join(wrong[:12])
    return len(store)
