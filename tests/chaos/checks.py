"""What must be true after the storm. Each check is a function of what was Seen that gives a line to print, or raises AssertionError."""

import copy
import os
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from support import read_all
from support.recompute import Changes, Recomputation, assert_versions, now_ms, snapshot, standing

from faults import IN_TIME_MS
from load import LONGEST_MS, GRACE_MS, on_one_clock, partition_of_person

FAR_MS = 10 * 60_000  # nothing changes any more so long after the last event


# --- M, by several processes


def _rows(persons):
    """[("segment" or "audience", (name, person, status, since))] of some persons, by the naive evaluator's M alone. An audience changes only
    when one of its segments does or the person begins to exist, so that no other instants need be tried."""
    evaluator, until = _shared
    own = copy.copy(evaluator)
    own.events = {p: evaluator.events[p] for p in persons}
    own._lists = {}
    rows, flips = [], defaultdict(set)
    for r in own.timeline(until):
        person = (r["namespace"], r["id"])
        rows.append(("segment", (r["segment"], person, r["status"], r["since"])))
        flips[r["segment"], person].add(r["since"])
    for a, definition in own.audiences.items():
        named, datasets = _segments_in(definition["where"]), own.audience_datasets(a)
        instants = lambda p: set(own.events_of(p, datasets)[0][:1]).union(*(flips[s, p] for s in named))  # noqa: E731
        for r in own.changes("audience", a, lambda p, t: own.audience_member(a, p, t), instants):
            rows.append(("audience", (r["audience"], (r["namespace"], r["id"]), r["status"], r["since"])))
    return rows


def _segments_in(x):
    if isinstance(x, list):
        return set().union(*map(_segments_in, x)) if x else set()
    return {x["segment"]} if "segment" in x else set().union(*(_segments_in(v) for v in x.values() if isinstance(v, (list, dict))))


_shared = None


def timelines(evaluator, until):
    """(segments, audiences): sets of (name, person, status, since)."""
    global _shared
    _shared = (evaluator, until)  # forked children find it
    persons = sorted(evaluator.events)
    slices = [persons[i : i + 50] for i in range(0, len(persons), 50)]
    found = {"segment": set(), "audience": set()}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("fork")) as pool:
        for rows in pool.map(_rows, slices):
            for what, row in rows:
                found[what].add(row)
    return found["segment"], found["audience"]


# --- what was seen


class Seen:
    """Everything that the checks look at. Made when the load has ended; settle() waits until Redis and the topics have come to rest."""

    def __init__(self, field, load, watch):
        self.field, self.load, self.watch = field, load, watch
        planted = load.planted
        self.truth = Recomputation(field.definitions, field.kafka, skip=lambda r: (r.topic, r.partition, r.offset) in planted)
        self.segments, self.audiences = timelines(self.truth.evaluator, now_ms() + FAR_MS)
        self.transactions = field.settings.get("delivery") == "exactly_once"
        self.exact = on_one_clock(field.definitions)
        self.late = load.late(IN_TIME_MS)
        self.stepped = self._stepped()
        self.excused = self.late | self.stepped

    def _stepped(self):
        """Persons of partitions whose clock ran ahead while they had something that could change."""
        found = set()
        for person, events in self.truth.evaluator.events.items():
            times = [e.ts for e in events.values()]
            for step in self.field.stepped:
                if partition_of_person(person) in step["partitions"] and max(times) + LONGEST_MS >= step["from"] and min(times) <= step["until"]:
                    found.add(person)
        return found

    def read(self):
        self.store, self.store_at = snapshot(self.field.redis)
        self.topics_at = now_ms()
        self.until = self.topics_at - GRACE_MS - 2000
        self.memberships, self.told = (
            Changes(self.field.kafka, f"rollcall.{topic}", committed=self.transactions) for topic in ("memberships", "segments")
        )

    def differences(self, known, at, slack_ms=GRACE_MS + 2000):
        """Where {(audience, person): (status, since)} is not as M is. What became due within `slack_ms` may be there or not yet. For persons
        whose events came late, or were decided upon before they came, and for audiences on several clocks, `since` is the instant as far as
        it was known: who is a member must be right in any case."""
        sure, newest = standing(self.audiences, at - slack_ms), standing(self.audiences, at)
        between = defaultdict(set)
        for audience, person, status, since in self.audiences:
            if at - slack_ms < since <= at:
                between[audience, person].add((status, since))
        wrong = []
        for key in set(newest) | set(known):
            got, allowed = known.get(key), between[key] | {sure.get(key)}
            if key[0] not in self.exact or key[1] in self.excused:
                # Never told of and exited are the same to a receiver.
                got, allowed = _member(got), {_member(x) for x in allowed}
            if got not in allowed:
                wrong.append(f"{key[0]} {key[1][1]}: is {got}, should be {sorted(allowed, key=str)}")
        return sorted(wrong)

    def store_differences(self):
        store, at = snapshot(self.field.redis)
        return self.differences({k: (v["status"], v["since"]) for k, v in store.items()}, at)


def _member(standing):
    return bool(standing) and standing[0] == "realized"


def _some(rows, most=12):
    rows = list(rows)
    return "".join(f"\n    {row}" for row in rows[:most]) + (f"\n    … {len(rows)} in all" if len(rows) > most else "")


# --- the checks


def everybody_lives(seen):
    """no process ended without a fault, and every fault ended"""
    assert not seen.field.findings, _some(seen.field.findings, 40)
    excused = Counter(why for _, _, why in seen.field.exits)
    return f"ended by themselves and started again: {dict(excused) or 'none'}"


def load_was_one(seen):
    """the load did what it should, and every segment and audience has entries and exits"""
    assert seen.load.failed is None, seen.load.failed
    assert seen.truth.events() == seen.load.events, f"{seen.load.events} events were acknowledged, {seen.truth.events()} are on the topics"
    for rows in (seen.segments, seen.audiences):
        found = Counter((name, status) for name, _, status, since in rows if since <= seen.until)
        for name in {row[0] for row in rows}:
            assert min(found[name, "realized"], found[name, "exited"]) > 0 or name == "lifetime", f"{name}: {found[name, 'realized']} entries"
    return (f"{seen.load.events} events of {len(seen.truth.evaluator.events)} persons, {seen.load.duplicates} sent again,"
            f" {len(seen.load.planted)} that cannot be used; the longest wait for the broker {seen.load.greatest_pause_s:.1f} s")  # fmt: skip


def redis_is_right(seen):
    """membership in Redis equals the recomputation"""
    wrong = seen.differences({k: (v["status"], v["since"]) for k, v in seen.store.items()}, seen.store_at)
    assert not wrong, f"{len(wrong)} differences{_some(wrong)}"
    return f"{len(seen.store)} memberships, 0 differences"


def topic_is_right(seen):
    """the latest on rollcall.memberships equals the recomputation, and Redis"""
    latest = {}
    for c in seen.memberships:
        key = (c.target, c.person)
        if key not in latest or c.version > latest[key].version:
            latest[key] = c
    wrong = seen.differences({k: (c.status, c.since) for k, c in latest.items()}, seen.topics_at)
    assert not wrong, f"{len(wrong)} differences{_some(wrong)}"
    moved = [k for k, v in seen.store.items() if k not in latest or latest[k].version < v["version"]]
    moved += [k for k, c in latest.items() if c.emitted < seen.store_at - 5000
              and (k not in seen.store or (seen.store[k]["status"], seen.store[k]["since"]) != (c.status, c.since))]  # fmt: skip
    assert not moved, f"{len(moved)} memberships in Redis are not what the topic says{_some(moved)}"
    return f"{len(latest)} memberships, {len(seen.memberships)} records, 0 differences"


def nobody_goes_back(seen):
    """no receiver that keeps the highest version ever went back, no version has two contents"""
    repeats = 0
    for changes, exact in ((seen.memberships, seen.exact), (seen.told, None)):
        n = assert_versions(changes, in_time=False)
        assert not seen.transactions or n == len(changes), f"{len(changes) - n} changes were read twice, in transactions"
        held = {}
        for c in changes:
            key = (c.target, c.person)
            before = held.get(key)
            if before and c.version <= before.version:
                continue
            held[key] = c
            if not before or c.person in seen.excused or exact is not None and c.target not in exact:
                continue
            assert c.since >= before.since, f"a receiver goes back in time:\n    {before}\n    {c}"
            if c.what == before.what:
                repeats += 1
            else:
                assert c.since > before.since and c.status != before.status, f"a receiver is told two things of one instant:\n    {before}\n    {c}"
    assert not repeats or seen.field.disks_lost, f"{repeats} changes came again with another version, and no disk was lost"
    assert not seen.watch.fell, f"{len(seen.watch.fell)} versions in Redis fell{_some(seen.watch.fell)}"
    return (f"{len(seen.memberships)} + {len(seen.told)} records; {repeats} again with a higher version after a lost disk;"
            f" {seen.watch.looks} looks at Redis saw {seen.watch.values} values")  # fmt: skip


def no_false_change(seen):
    """every change that was ever emitted is one of M's, and none is missing"""
    lines = []
    for what, true, changes, exact in (("segments", seen.segments, seen.told, None), ("audiences", seen.audiences, seen.memberships, seen.exact)):
        inside = lambda w: w[3] <= seen.until and w[1] not in seen.excused and (exact is None or w[0] in exact)  # noqa: E731
        wanted = {w for w in true if inside(w)}
        emitted = {c.what for c in changes if inside(c.what) and not c.target.startswith("_exists.")}
        by_what = {c.what: c for c in changes}
        false, missing = emitted - wanted, wanted - emitted
        assert not false and not missing, (
            f"{what}: {len(wanted)} changes are true, {len(emitted)} were emitted"
            f"\n  {len(false)} false:{_some(_false(by_what[w], true) for w in sorted(false, key=lambda w: w[3])[:12])}"
            f"\n  {len(missing)} missing:{_some(_missing(w, changes) for w in sorted(missing, key=lambda w: w[3])[:12])}"
        )
        lines.append(f"{len(wanted)} of {what}")
    everybody = len(seen.truth.evaluator.events)
    return (f"{' and '.join(lines)}; left out of {everybody} persons: {len(seen.late)} with an event that came late (the broker was away),"
            f" {len(seen.stepped)} whose ingest had its clock ahead")  # fmt: skip


def _false(c, true):
    own = sorted((w[3], w[2]) for w in true if w[:2] == (c.target, c.person) and abs(w[3] - c.since) < 60_000)
    return (f"{c.target} {c.person[1]} [{partition_of_person(c.person)}] {c.status} since {c.since} v{c.version:x} {c.cause}"
            f" emitted +{c.emitted - c.since}; true: {own[:6]}")  # fmt: skip


def _missing(w, changes):
    own = sorted((c.since, c.status, hex(c.version)) for c in changes if c.what[:2] == w[:2] and abs(c.since - w[3]) < 60_000)
    return f"{w[0]} {w[1][1]} [{partition_of_person(w[1])}] {w[2]} since {w[3]}; emitted: {own[:6]}"


def nothing_dead(seen):
    """the dead letters are those that were planted, all of them"""
    found = set()
    for r in read_all(seen.field.kafka, "rollcall.deadletters"):
        h = {name: value.decode() for name, value in r.headers.items()}
        found.add((h["source.topic"], int(h["source.partition"]), int(h["source.offset"])))
    lost, others = seen.load.planted - found, found - seen.load.planted
    assert not lost and not others, f"missing: {_some(sorted(lost))}\n  nobody planted: {_some(sorted(others))}"
    return f"{len(found)} planted, {len(found)} there"


CHECKS = [everybody_lives, load_was_one, redis_is_right, topic_is_right, nobody_goes_back, no_false_change, nothing_dead]
