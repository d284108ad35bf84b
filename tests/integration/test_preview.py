"""`rollcall preview` and `rollcall diff`, held against the naive evaluation of the same topics."""

import datetime
import json
import random
import signal
import time
import unittest
from collections import Counter
from zoneinfo import ZoneInfo

from support import Kafka, create_topic, end_offsets, eventually, partition_of, produce, topic_partitions, wait_until
from support.basics import Child
from support.program import BINARY, Installation, _settings, environment
from support.recompute import EPOCH, Changes, Recomputation, naive, now_ms
from support.site import Pipeline, audience, dataset, event, of_type, seed_of_run, segment

import generate  # isort: skip  (tests/naive, which support.recompute puts on the path)

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


def setUpModule():
    global KAFKA
    KAFKA = Kafka({"log.retention.ms": "-1"}).start()  # records here carry the times of their events
    unittest.addModuleCleanup(KAFKA.close)


class PreviewTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = KAFKA
        cls.site = Installation(cls.kafka, settings={"topics.prefix": "preview"})
        cls.addClassCleanup(cls.site.close)
        rng, now = random.Random(4711), now_ms()
        for topic in ("web.events", "calls.in"):
            create_topic(cls.kafka, topic, PARTITIONS)
        # Events need an id of their own: which of two copies lies first must not matter.
        for d in (WEB, CALLS):
            d["event_id"] = {"path": "n"}
        rows = []
        for n, (ts, to, (key, value)) in enumerate(events_of(rng, 100, 2000, now)):
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
        self.assertGreater(result.rows[0]["ignored"], 30)  # noise, and the tombstone
        last = result.rows[-1]
        self.assertEqual((last["sizeLimit"], last["overLimit"]), (50, last["members"] > 50))
        # Nothing was made, and nothing written.
        self.assertEqual((topic_partitions(self.kafka), {t: end_offsets(self.kafka, t) for t in ("web.events", "calls.in")}), before)
        self.assertFalse([g.group_id for g in self.kafka.admin.list_consumer_groups().result().valid if g.group_id.startswith("preview")])

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


# --- random definitions


def rfc3339(ms):
    return (EPOCH + datetime.timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")


def compare_random(kafka, seed):
    """Members with their `since`, persons and the trend of a random case (tests/naive/generate.py), as of one of its instants, held against the
    naive evaluation. Gives the number of checks."""
    case, rng = generate.case(seed, audiences=True), random.Random(seed)
    for d in case.definitions:
        if d["kind"] == "dataset":
            d["topic"] = f"random-{seed}.{d['id']}"
            if d["timestamp"].get("unit", "ms") != "ms":  # the record's own is in ms whatever the unit says
                d["timestamp"] = {**{k: v for k, v in d["timestamp"].items() if k != "first_of"}, "path": "ts"}
            # No record is too far behind its event; a topic has one partition, so no record is in a wrong one, whatever its key.
            create_topic(kafka, d["topic"], 1, message_timestamp_after_max_ms=(1 << 63) - 1)
            stamp = max(0, case.times["until"])
            produce(kafka, d["topic"], [{"key": f"k{n % 3}".encode(), "value": line.encode(), "timestamp": stamp} for n, line in enumerate(case.events[d["id"]])])
    evaluator = Recomputation(json.loads(json.dumps(case.definitions), parse_float=naive.Decimal), kafka).evaluator
    at, checks = rng.choice(case.times["at"]), 0
    with Installation(kafka, settings={"topics.prefix": f"random-{seed}"}) as site:
        rows = site.run("preview", "-f", site.write("case.json", case.definitions), "--exact", "--at", rfc3339(at), "--limit", "100000", "--json").rows
    assert {row["at"] for row in rows} == {at}
    for row in rows:
        kind, id = row["kind"], row["id"]
        changes = evaluator.timeline(at, [id]) if kind == "segment" else evaluator.audience_timeline(at, [id])
        datasets = evaluator.audience_datasets(id) if kind == "audience" else naive.ids(evaluator.segments[id]["dataset"])
        firsts = [own[0] for p in evaluator.events if (own := evaluator.events_of(p, datasets)[0])]
        standing = {}
        for point in [*row["trend"], {"at": at, "members": row["members"], "persons": row["persons"]}]:
            standing = {(c["namespace"], c["id"]): (c["status"], c["since"]) for c in changes if c["since"] <= point["at"]}
            wanted = sum(status == "realized" for status, _ in standing.values()), sum(first <= point["at"] for first in firsts)
            assert wanted == (point["members"], point["persons"]), (seed, kind, id, point, wanted)
            checks += 1
        got = {(s["namespace"], s["id"]): s["since"] for s in row["sample"]}
        wanted = {p: since for p, (status, since) in standing.items() if status == "realized"}
        assert got == wanted, (seed, kind, id, at, got, wanted)
        checks += len(firsts)
    return checks


class RandomTest(unittest.TestCase):
    def test_random_definitions_equal_the_naive_evaluation(self):
        first = seed_of_run("random definitions").randrange(1 << 30)
        checks = sum(compare_random(KAFKA, seed) for seed in range(first, first + 4))
        self.assertGreater(checks, 200)


# --- diff

BUY = {"field": "type", "eq": "buy"}
SHOP = dataset("shop", event_id={"path": "n"})


def shop_definitions(times, window, more=()):
    """`often` and what rests on it; `quiet` and `late` do not change with the two."""
    return [
        segment("often", {"event": {"field": "type", "eq": "view"}, "count": {"ge": times}, "window": window}, "shop"),
        segment("quiet", {"not": {"event": BUY, "window": "3d"}}, "shop"),
        segment("often-and-quiet", {"and": [{"segment": "often"}, {"segment": "quiet"}]}, "shop"),
        audience("often"),
        audience("quiet"),
        audience("mixed", {"and": [{"not": {"segment": "often-and-quiet"}}, {"segment": "quiet"}]}),
        *more,
    ]  # fmt: skip


BEFORE = shop_definitions(3, "7d")
AFTER = shop_definitions(5, "1d", [segment("buyers", {"event": BUY, "window": "5d"}, "shop"), audience("buyers")])


class DiffTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = KAFKA
        cls.site = Pipeline(cls.kafka, settings={"sink.default": "embedded:unused"})
        cls.addClassCleanup(cls.site.close)
        create_topic(cls.kafka, "shop.events", PARTITIONS)
        # Nothing comes into or leaves a window of whole days within hours of now: time alone changes nothing while this runs.
        rng, now = random.Random(99), now_ms()
        rows = [(now - rng.randrange(10) * DAY - rng.randrange(6 * HOUR, 18 * HOUR), f"p{min(rng.randrange(200), rng.randrange(200))}") for _ in range(3000)]
        rows += [(now - rng.randrange(6 * HOUR, 18 * HOUR), f"p{rng.randrange(20)}") for _ in range(150)]
        records = [event(who, ts, rng.choice(["view", "view", "view", "buy", "look"]), n=n) for n, (ts, who) in enumerate(sorted(rows))]
        produce(cls.kafka, "shop.events", records)

    def diff(self, definitions, **more):
        path = self.site.write("proposed.json", definitions)
        return {(r["kind"], r["id"]): r for r in self.site.run("diff", "-f", path, "--sample", "100000", "--json", **more).rows}

    def members(self, dataset_, definitions):
        """{(kind, id): persons} by the naive evaluation of the topic, now."""
        evaluator, now = Recomputation([dataset_, *definitions], self.kafka).evaluator, now_ms()
        found = {(d["kind"], d["id"]): set() for d in definitions}
        for row in evaluator.members_at(now):
            found["segment", row["segment"]].add((row["namespace"], row["id"]))
        for row in evaluator.audience_members_at(now):
            found["audience", row["audience"]].add((row["namespace"], row["id"]))
        return found

    def check_effects(self, rows, before, after, against):
        """Every effect that is told is the difference of the two."""
        told = {key: row for key, row in rows.items() if "effect" in row}
        for key, row in told.items():
            with self.subTest(key):
                effect, old, new = row["effect"], before.get(key, set()), after[key]
                entering, leaving = ({(p["namespace"], p["id"]) for p in effect[side]} for side in ("entering", "leaving"))
                self.assertEqual((entering, leaving), (new - old, old - new))
                self.assertEqual((effect["before"], effect["after"], effect["enter"], effect["leave"]), (len(old), len(new), len(new - old), len(old - new)))
                self.assertEqual(effect["against"], against if key in before else "what was told")
                self.assertEqual(effect["drastic"], None if not old else "it would be empty" if not new else "it would more than double" if len(new) > 2 * len(old) else None)
                self.assertEqual(effect["held"], effect["drastic"] is not None and row["result"] == "changed")
        return set(told)

    def test_diff_predicts_what_apply_leads_to(self):
        site, old, new = self.site, self.members(SHOP, BEFORE), self.members(SHOP, AFTER)
        changed = [k for k in new if old.get(k) != new[k]]
        self.assertGreater(len(changed), 5)
        self.assertGreater(len(new["segment", "often"]), 10)
        # Nothing is applied: everything is created, and everybody enters.
        rows = self.diff([SHOP, *BEFORE])
        self.assertEqual({r["result"] for r in rows.values()}, {"created"})
        self.assertEqual(self.check_effects(rows, {}, old, ""), set(old))
        site.define(SHOP, *BEFORE)
        self.assertEqual([(r["result"], r["changes"], "effect" in r) for r in self.diff([SHOP, *BEFORE]).values()], [("unchanged", [], False)] * 7)
        # No consumer has run: held against the old definitions.
        topics = topic_partitions(self.kafka), {t: end_offsets(self.kafka, t) for t in ("rollcall.definitions", "rollcall.memberships")}
        edit = [AFTER[0]]  # `often` alone: the others follow
        rows = self.diff(edit)
        affected = {("segment", "often"), ("segment", "often-and-quiet"), ("audience", "often"), ("audience", "mixed")}
        self.assertEqual(self.check_effects(rows, old, new, "the old definition"), affected)
        self.assertEqual({key: r["result"] for key, r in rows.items()}, {key: "changed" if key == ("segment", "often") else "affected" for key in affected})
        row = rows["segment", "often"]
        self.assertEqual((row["version"], row["changes"]), (2, [{"path": "where.count.ge", "from": 3, "to": 5}, {"path": "where.window", "from": "7d", "to": "1d"}]))
        self.assertEqual(row["effect"]["lookback"], DAY)
        said = site.run("diff", "-f", site.write("edit.json", edit)).out
        self.assertIn("    where.count.ge: 3 -> 5\n", said)
        self.assertEqual(topics, (topic_partitions(self.kafka), {t: end_offsets(self.kafka, t) for t in ("rollcall.definitions", "rollcall.memberships")}))

        # With consumers: held against what they told.
        for role in ("ingest", "materialize"):
            site.start(role)
        eventually(lambda: self.assertEqual(self.told(), {key: people for key, people in old.items() if people}), 60)
        rows = self.diff(AFTER)
        self.assertEqual(self.check_effects(rows, old, new, "what was told"), affected | {("segment", "buyers"), ("audience", "buyers")})
        self.assertEqual({key: r["result"] for key, r in rows.items()},
                         {key: "changed" if key == ("segment", "often") else "created" if key not in old else "unchanged" for key in new})  # fmt: skip
        # Another dataset, and a note that changes nothing.
        stricter = {**SHOP, "where": {"field": "type", "in": ["view", "buy"]}, "description": "no looking"}
        rows = self.diff([stricter])
        self.check_effects(rows, old, self.members(stricter, BEFORE), "what was told")
        self.assertEqual(len(rows), 7)
        rows = self.diff([{**SHOP, "description": "a note"}])
        self.assertEqual([(key, r["result"], "effect" in r) for key, r in rows.items()], [(("dataset", "shop"), "changed", False)])
        # What would empty a segment, or more than double it.
        rows = self.diff([segment("often", of_type("never"), "shop"), segment("quiet", {"not": of_type("never")}, "shop")])
        self.check_effects(rows, old, self.members(SHOP, [segment("often", of_type("never"), "shop"), segment("quiet", {"not": of_type("never")}, "shop"), *BEFORE[2:]]), "what was told")
        self.assertTrue(rows["segment", "often"]["effect"]["held"])
        self.assertEqual(rows["audience", "often"]["effect"]["drastic"], "it would be empty")
        self.assertFalse(rows["audience", "often"]["effect"]["held"])
        # An audience that ends, and one that asks for fewer than there would be.
        rows = self.diff([audience("often", paused=True, on_end="exit"), audience("quiet", paused=True, on_end="keep"), audience("mixed", BEFORE[-1]["where"], size_limit=1)])
        often, quiet, mixed = (rows["audience", id]["effect"] for id in ("often", "quiet", "mixed"))
        self.assertEqual((often["leave"], often["after"], often["ended"]), (len(old["audience", "often"]), 0, True))
        self.assertEqual((quiet["leave"], quiet["enter"], quiet["after"]), (0, 0, len(old["audience", "quiet"])))
        self.assertEqual((mixed["sizeLimit"], mixed["overLimit"], mixed["leave"]), (1, len(old["audience", "mixed"]) > 1, 0))
        self.applied_as_predicted([
            audience("mixed", {"or": [{"segment": "often-and-quiet"}, {"not": {"segment": "quiet"}}]}),
            audience("new", {"and": [{"segment": "often"}, {"not": {"segment": "quiet"}}]}),
        ])  # fmt: skip
        # An edited segment, what rests on it, and a new one: each switches once its history is read.
        self.applied_as_predicted([d for d in AFTER if d["id"] != "mixed"])
        # What apply would refuse.
        self.assertIn("timestamp", site.run("diff", "-f", site.write("moved.json", {**SHOP, "timestamp": {"path": "n"}}), code=65).err)

    def applied_as_predicted(self, definitions):
        """Applies, and waits for exactly the changes of audiences that `diff` told before."""
        predicted, start = set(), end_offsets(self.kafka, "rollcall.memberships")
        for (kind, id), row in self.diff(definitions).items():
            for side, status in (("entering", "realized"), ("leaving", "exited")):
                predicted |= {(id, (p["namespace"], p["id"]), status) for p in row.get("effect", {}).get(side, ()) if kind == "audience"}
        self.assertGreater(len(predicted), 20)
        self.site.run("apply", "-f", self.site.write("applied.json", definitions), "--force")
        emitted = lambda: sorted((c.target, c.person, c.status) for c in Changes(self.kafka, "rollcall.memberships", start))  # noqa: E731
        wait_until(lambda: len(emitted()) >= len(predicted), 60, lambda: f"{len(predicted)} changes; there are {len(emitted())}")
        time.sleep(1)  # and no more of them
        self.assertEqual(emitted(), sorted(predicted))

    def told(self):
        """{(kind, id): persons realized} as the topics say it."""
        standing = {}
        for kind, topic in (("segment", "segments"), ("audience", "memberships")):
            for c in sorted(Changes(self.kafka, f"rollcall.{topic}"), key=lambda c: c.version):
                standing[kind, c.target, c.person] = c.status
        found = {}
        for (kind, target, person), status in standing.items():
            if status == "realized" and not target.startswith("_"):
                found.setdefault((kind, target), set()).add(person)
        return found


if __name__ == "__main__":
    unittest.main()
