"""`rollcall preview` and `rollcall diff`, held against the naive evaluation of the same topics."""

import datetime
import json
import random
import signal
import time
import unittest
from collections import Counter
from zoneinfo import ZoneInfo

from support import Kafka, create_topic, end_offsets, partition_of, produce, topic_partitions
from support.basics import Child
from support.program import BINARY, Installation, _settings, environment
from support.recompute import Recomputation, naive, now_ms
from support.site import audience, dataset, event, of_type, segment

HOUR, DAY = 3_600_000, 86_400_000
ZONE = "Europe/Stockholm"
PARTITIONS = 4

WEB = dataset(timezone=ZONE)
CALLS = {**dataset("calls", topic="calls.in"), "keyed": False, "where": {"field": "type", "ne": "noise"}}
DEFINITIONS = [
    WEB,
    CALLS,
    segment("regulars", {"event": {"field": "type", "eq": "view"}, "count": {"ge": 3}, "window": "7d"}),
    segment("spenders", {"sum": "amount", "is": {"gt": 50}, "window": {"calendar": "week", "count": 2}}),
    segment("quiet", {"not": of_type("buy", window="5d")}),
    segment("callers", of_type("call", window="20d"), dataset=["calls", "web"]),
    segment("both", {"and": [{"segment": "regulars"}, {"segment": "callers"}]}, dataset=["web"]),
    audience("targets", {"and": [{"or": [{"segment": "regulars"}, {"segment": "callers"}]}, {"not": {"segment": "spenders"}}]}, size_limit=50),
]  # fmt: skip


def events_of(rng, persons, count, now):
    """(dataset, record) in the order of their production: mostly in time order, a tenth late, a twentieth twice, some that are none."""
    rows = []
    for _ in range(count):
        ts = now - rng.randrange(40 * DAY)
        name = f"{rng.choice(['u', 'U', 'user-'])}{rng.randrange(persons)}"
        if rng.random() < 0.8:
            more = {"amount": rng.randrange(40)} if rng.random() < 0.4 else {}
            rows.append((ts, "web", event(name, ts, rng.choice(["view", "view", "buy", "look"]), **more)))
        else:
            key, value = event(name, ts, rng.choice(["call", "call", "noise"]))
            rows.append((ts, "calls", (b"somebody", value)))  # keyed by something else
    rows.sort(key=lambda row: row[0] + (rng.randrange(20 * DAY) if rng.random() < 0.1 else 0))
    return [row for row in rows for _ in range(2 if rng.random() < 0.05 else 1)]


def stamped(rows, now):
    """Records whose Kafka timestamp is the greatest time so far, as if they had been produced then."""
    greatest = 0
    for ts, _, (key, value) in rows:
        greatest = max(greatest, ts)
        yield {"key": key, "value": value, "timestamp": min(greatest, now)}


class PreviewTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.site = Installation(cls.kafka)
        cls.addClassCleanup(cls.site.close)
        rng, now = random.Random(4711), now_ms()
        for topic in ("web.events", "calls.in"):
            create_topic(cls.kafka, topic, PARTITIONS)
        # Events need an id of their own: which of two copies lies first must not matter.
        for d in (WEB, CALLS):
            d["event_id"] = {"path": "n"}
        rows = []
        for n, (ts, to, (key, value)) in enumerate(events_of(rng, 150, 3000, now)):
            rows.append((ts, to, (key, json.dumps({**json.loads(value), "n": n if rng.random() > 0.1 else max(0, n - 1)}).encode())))
        for to, topic in (("web", "web.events"), ("calls", "calls.in")):
            produce(cls.kafka, topic, stamped([row for row in rows if row[1] == to], now))
        produce(cls.kafka, "web.events", [
            {"key": b"id:bad", "value": b"{", "timestamp": now},
            {"key": b"id:u1", "value": event("u1", now)[1][:-1] + b', "amount": -3, "n": 9000001}', "timestamp": now},
            {"key": b"id:u1", "value": None, "timestamp": now},
            {"key": b"id:u2", "value": event("u2", now)[1][:-1] + b', "n": 9000002}', "timestamp": now,
             "partition": (partition_of(b"id:u2", PARTITIONS) + 1) % PARTITIONS},
        ])  # fmt: skip
        cls.truth = Recomputation(
            DEFINITIONS, cls.kafka,
            skip=lambda r: r.topic == "web.events" and r.key == b"id:u2" and r.partition != partition_of(b"id:u2", PARTITIONS),
        )  # fmt: skip
        cls.defined = cls.site.write("definitions.json", DEFINITIONS)

    def preview(self, *args, **more):
        return self.site.run("preview", "-f", self.defined, *args, "--json", **more)

    def members(self, kind, id, at):
        """{(namespace, person)} by the naive evaluation."""
        rows = self.truth.evaluator.members_at(at, [id]) if kind == "segment" else self.truth.evaluator.audience_members_at(at, [id])
        return {(r["namespace"], r["id"]) for r in rows}

    def persons(self, kind, id, at):
        evaluator = self.truth.evaluator
        datasets = evaluator.audience_datasets(id) if kind == "audience" else naive.ids(evaluator.segments[id]["dataset"])
        return {p for p in evaluator.events if (own := evaluator.events_of(p, datasets)[0]) and own[0] <= at}

    def test_exact_equals_the_naive_evaluation(self):
        before = topic_partitions(self.kafka), {t: end_offsets(self.kafka, t) for t in ("web.events", "calls.in")}
        result = self.preview("--exact", "--limit", "100000")
        self.assertEqual([(r["kind"], r["id"]) for r in result.rows], [(d["kind"], d["id"]) for d in DEFINITIONS[2:]])
        today = datetime.datetime.fromtimestamp(result.rows[0]["at"] / 1000, ZoneInfo(ZONE)).date()
        some = 0
        for row in result.rows:
            kind, id, at = row["kind"], row["id"], row["at"]
            with self.subTest(id):
                wanted = self.members(kind, id, at)
                self.assertEqual({(s["namespace"], s["id"]) for s in row["sample"]}, wanted)
                self.assertEqual((row["members"], row["low"], row["high"], row["exact"]), (len(wanted), len(wanted), len(wanted), True))
                self.assertEqual({n["namespace"]: n["members"] for n in row["namespaces"]}, dict(Counter(n for n, _ in wanted)))
                self.assertEqual(row["persons"], len(self.persons(kind, id, at)))
                self.assertAlmostEqual(row["share"], len(wanted) / row["persons"])
                self.assertEqual([t["day"] for t in row["trend"]], [str(today - datetime.timedelta(n)) for n in range(30, 0, -1)])
                for point in row["trend"]:
                    self.assertEqual(point["at"], int(datetime.datetime.combine(datetime.date.fromisoformat(point["day"]) + datetime.timedelta(1), datetime.time(), ZoneInfo(ZONE)).timestamp() * 1000) - 1)  # fmt: skip
                    self.assertEqual(point["members"], len(self.members(kind, id, point["at"])), point)
                    self.assertEqual(point["persons"], len(self.persons(kind, id, point["at"])), point)
                    self.assertTrue(point["complete"])
                    some += point["members"]
                self.assertTrue(row["complete"])
                self.assertEqual({h["from"] for h in row["history"]}, {None})
        self.assertGreater(some, 1000)  # the cases are not empty ones
        self.assertEqual(result.rows[0]["bad"], {"broken json": 1, "bad value": 1, "wrong partition": 1})
        self.assertGreater(result.rows[0]["ignored"], 50)  # noise, and the tombstone
        last = result.rows[-1]
        self.assertEqual((last["sizeLimit"], last["overLimit"]), (50, last["members"] > 50))
        # Nothing was made, and nothing written.
        self.assertEqual((topic_partitions(self.kafka), {t: end_offsets(self.kafka, t) for t in ("web.events", "calls.in")}), before)
        self.assertFalse(self.kafka.admin.list_consumer_groups().result().valid)

    def test_little_memory_gives_the_same_numbers(self):
        """What a partition holds is parted, by records and by persons, where it passes the budget: here by 16 MiB, the least there is."""
        create_topic(self.kafka, "crowd.events", 1)
        rng, now = random.Random(1), now_ms()
        rows = sorted((now - rng.randrange(9 * DAY), rng.randrange(45000), rng.choice(["view", "buy"])) for _ in range(200_000))
        produce(self.kafka, "crowd.events", ({"key": k, "value": v, "timestamp": ts} for ts, who, what in rows for k, v in [event(f"c{who}", ts, what)]))
        path = self.site.write("crowd.json", [dataset("crowd"), segment("crowd", {"event": {"field": "type", "eq": "view"}, "count": {"ge": 3}, "window": "5d"}, "crowd")])
        little, much = (self.site.run("preview", "-f", path, "--exact", "--limit", "1000000", "--json", settings={"state.memory_bytes": m}, timeout=120).json
                        for m in ("16MiB", "1GiB"))  # fmt: skip
        seen = {f"c{who}": [] for _, who, _ in rows}
        for ts, who, what in rows:
            if what == "view":
                seen[f"c{who}"].append(ts)
        for row, units in ((little, 2), (much, 1)):
            self.assertEqual({s["id"] for s in row["sample"]}, {p for p, own in seen.items() if sum(row["at"] - 5 * DAY < t <= row["at"] for t in own) >= 3})
            self.assertEqual((row["records"], row["events"], row["persons"], row["sampled"]["of"]), (200_000, 200_000, len(seen), units))
            self.assertEqual([t["persons"] for t in row["trend"]], [len({who for ts, who, _ in rows if ts <= t["at"]}) for t in row["trend"]])

    def test_a_sample_is_the_persons_of_some_partitions(self):
        (row,) = [r for r in self.preview("--sample", "1", "--limit", "100000").rows if r["id"] == "targets"]
        partition = {partition_of(f"{s['namespace']}:{s['id']}".encode(), PARTITIONS) for s in row["sample"]}
        self.assertEqual(len(partition), 1)
        wanted = {p for p in self.members("audience", "targets", row["at"]) if partition_of(":".join(p).encode(), PARTITIONS) in partition}
        self.assertEqual({(s["namespace"], s["id"]) for s in row["sample"]}, wanted)
        self.assertEqual(row["sampled"]["members"], len(wanted))
        self.assertEqual((row["members"], row["sampled"]["fraction"], row["exact"]), (4 * len(wanted), 0.25, False))
        self.assertTrue(len(wanted) < row["low"] <= row["members"] <= row["high"])
        for point in row["trend"]:
            inside = [p for p in self.members("audience", "targets", point["at"]) if partition_of(":".join(p).encode(), PARTITIONS) in partition]
            self.assertEqual(point["members"], 4 * len(inside))
        said = self.site.run("preview", "-f", self.defined, "--sample", "1").out
        self.assertIn("estimated from 1 of 4 partitions, about 25 % of persons: ± ", said)

    def test_since_reads_less_and_says_what_that_means(self):
        rows = {r["id"]: r for r in self.preview("--exact", "--since", "10d").rows}
        whole = {r["id"]: r for r in self.preview("--exact").rows}
        self.assertLess(rows["regulars"]["records"], whole["regulars"]["records"] * 0.7)
        regulars = rows["regulars"]
        self.assertEqual(len(regulars["trend"]), 10)
        self.assertEqual(regulars["lookback"], 7 * DAY)
        self.assertEqual(regulars["members"], whole["regulars"]["members"])  # 7 days are among those 10
        self.assertTrue(regulars["complete"])
        self.assertEqual([t["complete"] for t in regulars["trend"]], [t["at"] >= regulars["at"] - 3 * DAY for t in regulars["trend"]])
        for point in regulars["trend"]:
            if point["complete"]:
                self.assertEqual(point["members"], len(self.members("segment", "regulars", point["at"])))
        self.assertEqual(regulars["history"], [{"dataset": "web", "from": regulars["at"] - 10 * DAY}])
        self.assertFalse(rows["callers"]["complete"])  # 20 days are not
        said = self.site.run("preview", "-f", self.defined, "--exact", "--since", "10d").out
        self.assertIn("it looks back 20 days: INCOMPLETE", said)

    def test_search_and_limit(self):
        (row,) = [r for r in self.preview("--exact", "--search", "USER-1", "--limit", "3").rows if r["id"] == "quiet"]
        found = {p for p in self.members("segment", "quiet", row["at"]) if "user-1" in p[1].lower()}
        self.assertEqual((row["found"], len(row["sample"])), (len(found), 3))
        self.assertLess({(s["namespace"], s["id"]) for s in row["sample"]}, found)

    def test_history_that_retention_took(self):
        create_topic(self.kafka, "short.events", PARTITIONS)
        now = now_ms()
        web = dataset("short")
        for days in (9, 5, 1):
            produce(self.kafka, "short.events", [{**dict(zip(("key", "value"), event(f"p{n}", now - days * DAY))), "timestamp": now - days * DAY} for n in range(40)])  # fmt: skip
        from confluent_kafka import TopicPartition

        ends = [TopicPartition("short.events", p, sum(partition_of(f"id:p{n}".encode(), PARTITIONS) == p for n in range(40))) for p in range(PARTITIONS)]
        for answer in self.kafka.admin.delete_records(ends).values():
            answer.result(30)
        path = self.site.write("short.json", [web, segment("seen", of_type("view", count={"ge": 2}, window="30d"), "short"), segment("lately", of_type("view", window="2d"), "short")])
        rows = {r["id"]: r for r in self.site.run("preview", "-f", path, "--json").rows}
        self.assertEqual((rows["seen"]["members"], rows["seen"]["complete"]), (40, False))
        self.assertEqual((rows["lately"]["members"], rows["lately"]["complete"]), (40, True))
        self.assertEqual(rows["seen"]["history"], [{"dataset": "short", "from": now - 5 * DAY}])
        self.assertIn("the topic holds that of short from", self.site.run("preview", "-f", path).out)

    def test_what_is_refused(self):
        site = self.site
        self.assertIn("-f", site.run("preview", code=64).err)
        self.assertIn("--exact", site.run("preview", "-f", self.defined, "--exact", "--sample", "2", code=64).err)
        self.assertIn("1 to 4", site.run("preview", "-f", self.defined, "--sample", "5", code=64).err)
        only = site.write("only.json", [WEB])
        self.assertIn("no segment and no audience", site.run("preview", "-f", only, code=65).err)
        unknown = site.write("unknown.json", segment("x", of_type("view"), dataset="wbe"))
        self.assertIn("wbe", site.run("preview", "-f", unknown, code=65).err)
        site.run("preview", "-f", self.defined, code=69, settings={"kafka.bootstrap.servers": "127.0.0.1:1"})

    def test_an_interrupt_ends_it(self):
        out = open(self.site.folder / "interrupted.out", "w+")
        child = Child([BINARY, "preview", "-f", str(self.defined), "--exact", *_settings(self.site.settings)],
                      self.site.folder / "interrupted.log", env=environment(), stdout=out)  # fmt: skip
        time.sleep(0.2)
        child.process.send_signal(signal.SIGINT)
        self.assertIn(child.wait(30), (0, -signal.SIGINT))  # it may have been quicker


if __name__ == "__main__":
    unittest.main()
