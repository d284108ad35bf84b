"""Live equals file: the same definitions and events, in time order, through real Kafka and through `rollcall eval --timeline`, give the
same memberships and the same `since`. The cases are random ones of tests/naive/generate.py, over the whole language."""

# release only: what it compares does not depend on the build

import json
import sys
import unittest

from support import Kafka, create_topic, eventually, partition_of, person_key, produce, rollcall
from support.basics import make_temp
from support.recompute import Changes, naive, now_ms, standing
from support.site import SLOW, Pipeline, seed_of_run

import generate  # of tests/naive; support.recompute puts its folder on the path

CASES = 6 if SLOW == 1 else 3
DAY_MS = 86_400_000


def timestamps(definition, line, number):
    """(timestamp, person key) of a line's event, or None when it is none."""
    try:
        event = naive.project(definition, naive.parse_records([line.encode()])[0], f"{number:020}", {})
    except naive.BadEvent:
        return None
    return event and (event.ts, person_key(event.namespace, event.id))


def usable(case, now):
    """Times of the present (Kafka's timestamps are not negative, and nothing of the future is accepted), nothing from Kafka's own fields."""
    if '"kafka"' in json.dumps(case.definitions, default=str) or case.times["until"] > now - DAY_MS:
        return False
    return all(place is None or place[0] > 0 for _, _, place, _ in in_order(case))


def in_order(case):
    """[(dataset, line, (timestamp, person key) or None, timestamp to lie at)]: all lines, each dataset by time; what is no event keeps
    close to the one before it."""
    found = []
    for definition in case.definitions:
        if definition["kind"] == "dataset":
            at, own = 1, []
            for number, line in enumerate(case.events[definition["id"]]):
                place = timestamps(definition, line, number)
                at = place[0] if place else at
                own.append((definition["id"], line, place, at))
            found += sorted(own, key=lambda row: row[3])
    return found


class LiveEqualsFileTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)

    def test_random_cases(self):
        chance = seed_of_run("test_live_equals_file")
        compared = same = changes = 0
        while compared < CASES:
            seed = chance.randrange(1 << 31)
            case = generate.case(seed, audiences=True)
            if usable(case, now_ms()):
                with self.subTest(seed=seed):
                    n, equal = self.compare(case, compared)
                    changes, same = changes + n, same + equal
                compared += 1
        print(f"\n{compared} cases, {changes} changes; {same} cases compared with eval, the others have ties that positions decide", file=sys.stderr)
        self.assertGreaterEqual(same, CASES // 2)

    def compare(self, case, number):
        prefix = f"case{number}"
        folder = make_temp("live-equals-file")
        site = Pipeline(self.kafka, settings={"topics.prefix": prefix, "group.prefix": prefix})
        self.addCleanup(site.close)
        definitions = json.loads(json.dumps(case.definitions), parse_float=naive.Decimal)
        datasets = {d["id"]: d for d in definitions if d["kind"] == "dataset"}
        for d in datasets.values():
            d["topic"] = f"{prefix}.{d['id']}"
            create_topic(self.kafka, d["topic"], 2, retention_ms=-1)
        path = site.folder / "defined.json"
        path.write_text(json.dumps(definitions, default=float))

        # The very definitions and lines, on the topics and in files.
        rows = in_order(case)
        filed, live = naive.load_definitions(definitions), naive.load_definitions(definitions)
        for dataset in datasets:
            own = [row for row in rows if row[0] == dataset]
            (folder / f"{dataset}.jsonl").write_text("".join(line + "\n" for _, line, _, _ in own))
            placed = produce(self.kafka, datasets[dataset]["topic"], [
                {"key": place[1] if place else None, "value": line.encode(), "timestamp": at, "partition": partition_of(place[1], 2) if place else 0}
                for _, line, place, at in own])  # fmt: skip
            records = naive.parse_records(line.encode() for _, line, _, _ in own)
            filed.accept(dataset, records)
            live.accept(dataset, records, event_ids=[f"{datasets[dataset]['topic']}:{p:020}:{o:020}" for p, o in placed])
        site.run("apply", "-f", path)
        until = now_ms()
        # materialize comes first: what lies on rollcall.segments before its first start is history, of which it tells the outcome alone.
        for role in ("materialize", "ingest"):
            site.start(role)
        wanted = self.segment_rows(live.timeline(until))
        eventually(lambda: self.assertEqual(self.emitted(f"{prefix}.segments"), wanted), 20 * SLOW)
        audiences = {(r["audience"], (r["namespace"], r["id"]), r["status"], r["since"]) for r in live.audience_timeline(until)}
        if len(datasets) == 1:
            eventually(lambda: self.assertEqual(self.emitted(f"{prefix}.memberships"), audiences), 20 * SLOW)
        else:
            # A backlog in one dataset holds up no other, so an audience over both may hear of one before the other: the outcome counts.
            members = {key for key, (status, _) in standing(audiences, until).items() if status == "realized"}
            eventually(lambda: self.assertEqual(self.members(f"{prefix}.memberships"), members), 20 * SLOW)
        equal = self.segment_rows(filed.timeline(until)) == wanted
        if equal:
            events = [x for d in datasets for x in ("--events", f"{d}={folder / d}.jsonl")]
            printed = rollcall("eval", "-f", path, *events, "--timeline", "--until", until).rows
            self.assertEqual(self.segment_rows(printed), wanted)
        site.close()
        return len(wanted) + len(audiences), equal

    @staticmethod
    def segment_rows(rows):
        return {(r["segment"], (r["namespace"], r["id"]), r["status"], r["since"]) for r in rows}

    def members(self, topic):
        last = {}
        for c in sorted(Changes(self.kafka, topic), key=lambda c: c.version):
            last[c.target, c.person] = c.status
        return {key for key, status in last.items() if status == "realized"}

    def emitted(self, topic):
        return {c.what for c in Changes(self.kafka, topic) if not c.target.startswith("_exists.")}


if __name__ == "__main__":
    unittest.main()
