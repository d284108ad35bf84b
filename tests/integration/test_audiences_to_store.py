"""materialize and sink alone: rollcall.segments is written by the test, so that groups, crashes and repeats can be put exactly where
they hurt; what comes out is held against a model of a few lines."""

import json
import shutil
import threading
import time
import unittest

from confluent_kafka import KafkaException, Producer
from support import Kafka, Redis
from support.basics import eventually, wait_until
from support.recompute import Changes, assert_versions, now_ms, snapshot
from support.site import Pipeline, audience, dataset, of_type, seed_of_run, segment
from support.topics import encode, partition_of, person_key, produce, read_all

EPOCH = 1 << 32


def both(*parts):
    return {"and": list(parts)}


A, B = {"segment": "a"}, {"segment": "b"}
DEFINITIONS = [
    dataset(), segment("a", of_type("a")), segment("b", of_type("b")),
    audience("in-a", A), audience("a-not-b", both(A, {"not": B})), audience("a-and-b", both(A, B)), audience("never-b", {"not": B}),
]  # fmt: skip
HOLDS = {
    "in-a": lambda a, b: a, "a-not-b": lambda a, b: a and not b, "a-and-b": lambda a, b: a and b, "never-b": lambda a, b: not b,
}  # fmt: skip


class Told:
    """What the test says on rollcall.segments, and what follows from it."""

    def __init__(self, kafka, topic="rollcall.segments", partitions=4):
        self.topic, self.partitions = topic, partitions
        self.producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, "linger.ms": 0, "acks": "all"})
        self.version = 7 * EPOCH
        self.since = 0  # of the last decision of load(): they are in time order
        self.state = {}  # user: {"a": bool, "b": bool}
        self.true = set()  # (audience, person, status, since)
        self.now = {}  # (audience, person): (status, since)

    def record(self, user, target, status, since, more=False, version=None, cause="event"):
        key = person_key("id", user)
        self.version += version is None
        value = {"segment": target, "namespace": "id", "personId": user, "status": status, "since": since,
                 "version": version or self.version, "cause": cause, "eventId": f"e{self.version}", "eventTime": since,
                 "emittedAt": now_ms(), "segmentVersion": 1}  # fmt: skip
        self.producer.produce(self.topic, key=key + b"|" + target.encode(), value=encode("segment_membership", value),
                              partition=partition_of(key, self.partitions), headers={"more": b"1"} if more else None)  # fmt: skip

    def flip(self, user, since, **values):
        """One decision: all of `values` at one instant, existence first when the person is new."""
        rows = []
        if user not in self.state:
            self.state[user] = {"a": False, "b": False}
            rows.append(("_exists.web", True))
        before = dict(self.state[user])
        for name, value in values.items():
            if self.state[user][name] != value:
                self.state[user][name] = value
                rows.append((name, value))
        for n, (target, value) in enumerate(rows):
            self.record(user, target, "realized" if value else "exited", since, more=n + 1 < len(rows))
        new = rows and rows[0][0] == "_exists.web"
        for name, holds in HOLDS.items():
            was, now = not new and holds(**before), holds(**self.state[user])
            if was != now:
                status = "realized" if now else "exited"
                self.true.add((name, ("id", user), status, since))
                self.now[name, ("id", user)] = (status, since)
        return bool(rows)

    def done(self):
        assert self.producer.flush(60) == 0


class Case(unittest.TestCase):
    settings = {"checkpoint.interval": "300ms"}
    roles = ("materialize", "sink")

    def setUp(self):
        self.site = Pipeline(self.kafka, self.redis, settings={**self.settings, "topics.prefix": self.id().rpartition("_")[2]})
        self.prefix = self.site.settings["topics.prefix"]
        self.site.settings["group.prefix"] = self.prefix
        self.addCleanup(self.site.close)
        self.site.define(*DEFINITIONS)
        self.told = Told(self.kafka, f"{self.prefix}.segments")
        for role in self.roles:
            setattr(self, role, self.site.start(role))

    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.redis = Redis().start()
        cls.addClassCleanup(cls.redis.close)

    def load(self, random, users, steps, pause=0.0):
        """Random decisions in time order."""
        for n in range(steps):
            self.told.since = since = max(self.told.since + 1 + random.randrange(3), now_ms() - 1000000)
            user = f"u{random.randrange(users)}"
            self.told.flip(user, since, a=random.random() < 0.5, b=random.random() < 0.5)
            self.told.producer.poll(0)
            if pause and n % 50 == 0:
                time.sleep(pause)
        self.told.done()

    def status(self, process):
        return json.loads(process.get("/status")[1])["roles"][process.name]

    def changes(self):
        return Changes(self.kafka, f"{self.prefix}.memberships")

    def in_store(self):
        return {key: (v["status"], v["since"]) for key, v in snapshot(self.redis, self.prefix)[0].items()}

    def check_store(self, timeout=30):
        def same():
            found = self.in_store()
            wrong = {k: (found.get(k), v) for k, v in self.told.now.items() if found.get(k) != v}
            self.assertEqual({}, dict(list(wrong.items())[:5]), f"{len(wrong)} of {len(self.told.now)} differ (found, wanted)")
            self.assertEqual(set(), set(found) - set(self.told.now))

        eventually(same, timeout)

    def check_all(self):
        """Store, topic, and every change ever emitted."""
        self.check_store()
        seen = self.changes()
        emitted = {c.what for c in seen}
        self.assertEqual(set(), emitted - self.told.true, "false changes")
        self.assertEqual(set(), self.told.true - emitted, "missing changes")
        assert_versions(seen)
        return seen


class PlainTest(Case):
    def test_every_change_once_plain(self):
        self.load(seed_of_run("plain"), 300, 5000)
        seen = self.check_all()
        self.assertEqual(len(seen), len(self.told.true), "repeated without a reason")
        first = next(c for c in seen if c.cause == "event")
        self.assertTrue(first.event_id.startswith("e") and first.event_time)
        wanted = {name: sum(1 for (n, _), (s, _) in self.told.now.items() if n == name and s == "realized") for name in HOLDS}
        members = lambda: {a["id"]: a["members"] for a in self.status(self.materialize)["audiences"]}  # noqa: E731
        eventually(lambda: self.assertEqual(wanted, members()), 5)
        profile = self.redis.client.hash(f"{self.prefix}:profile:id:u1")
        value = json.loads(profile["segmentMembership.never-b"])
        self.assertEqual(["status", "lastQualificationTime", "version"], list(value))
        self.assertRegex(value["lastQualificationTime"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_latency_when_there_is_little_latency(self):
        self.told.flip("warm", now_ms(), a=True, b=False)
        self.told.done()
        self.check_store()
        took = []
        for n in range(40):
            key, field = f"{self.prefix}:profile:id:l{n}", "segmentMembership.in-a"
            began = time.monotonic()
            self.told.flip(f"l{n}", now_ms(), a=True, b=False)
            self.told.producer.flush(5)
            while not self.redis.client("HEXISTS", key, field):
                time.sleep(0.0003)
                self.assertLess(time.monotonic() - began, 5)
            took.append(time.monotonic() - began)
            time.sleep(0.02)
        took.sort()
        print(f"segment change produced → profile: p50 {took[20] * 1e3:.1f} ms, p95 {took[38] * 1e3:.1f} ms", flush=True)
        self.assertLess(took[20], 0.05)

    def test_bad_records_and_tombstones_bad(self):
        partition = partition_of(b"id:u1", 4)
        produce(self.kafka, f"{self.prefix}.segments", [
            {"key": b"id:u1|a", "value": b"\x99\x01nonsense", "partition": partition}, {"key": b"no key", "value": b"x", "partition": partition},
            {"key": b"id:u1|a", "value": None, "partition": partition},
        ])  # fmt: skip
        self.told.flip("u1", now_ms(), a=True, b=False)
        self.told.done()
        self.check_all()
        letters = eventually(lambda: self._letters(2))
        self.assertEqual({str(partition).encode()}, {r.headers["source.partition"] for r in letters})

    def _letters(self, n):
        found = read_all(self.kafka, f"{self.prefix}.deadletters")
        self.assertEqual(n, len(found))
        return found


class CrashTest(Case):
    def crash(self, role, seed, wipe=False):
        random = seed_of_run(seed)
        process = getattr(self, role)
        loader = threading.Thread(target=self.load, args=(random, 200, 20000, 0.02))
        loader.start()
        while loader.is_alive():
            time.sleep(0.3 + random.random())
            process.kill()
            process.start()
        loader.join()
        return self.check_all()

    def test_kill_materialize_killm(self):
        self.crash("materialize", "killm")

    def test_kill_sink_kills(self):
        self.crash("sink", "kills")

    def test_half_a_group_is_not_decided_half(self):
        now = now_ms()
        self.told.record("x", "_exists.web", "realized", now, more=True)
        self.told.record("x", "a", "realized", now, more=True)
        self.told.flip("y", now, a=True, b=False)
        self.told.done()
        self.check_store()
        time.sleep(1)
        self.materialize.kill()
        self.materialize.start()
        self.assertEqual(set(), {c for c in self.changes() if c.person == ("id", "x")})
        self.told.record("x", "b", "realized", now)
        for name in ("in-a", "a-and-b"):
            self.told.true.add((name, ("id", "x"), "realized", now))
            self.told.now[name, ("id", "x")] = ("realized", now)
        self.told.done()
        self.check_all()

    def test_state_lost_lost(self):
        self.load(seed_of_run("lost"), 200, 3000)
        self.check_all()
        before = len(self.changes())
        self.materialize.terminate()
        shutil.rmtree(self.materialize.folder / "state")
        self.load(seed_of_run("lost again"), 100, 50)
        self.materialize.start()
        # The group's offset says where to go on and where its own output stood: nothing is told again, nothing is left out.
        self.assertGreater(len(self.check_all()), before)

    def test_state_and_offsets_lost_lostall(self):
        """Only the topics are left: what comes out is the difference, with the instants that a compacted topic tells."""
        self.load(seed_of_run("lostall"), 200, 3000)
        self.check_all()
        before = self.changes()
        self.materialize.terminate()
        shutil.rmtree(self.materialize.folder / "state")
        # A static member is missed only when its session is over.
        group = f"{self.prefix}-materialize"
        eventually(lambda: self.kafka.admin.delete_consumer_groups([group])[group].result(30), 60, errors=KafkaException)
        self.load(seed_of_run("lostall again"), 100, 50)
        restarted = now_ms()
        self.materialize.start()
        # Who went in and out again meanwhile, and was never told of before, is no difference: nobody is told that they left.
        known = {c.what[:2] for c in before}
        wanted = {key: status for key, (status, _) in self.told.now.items() if key in known or status == "realized"}

        def same():
            found = {key: status for key, (status, _) in self.in_store().items()}
            wrong = {key: (found.get(key), wanted.get(key)) for key in found | wanted if found.get(key) != wanted.get(key)}
            self.assertEqual({}, wrong, f"{len(wrong)} of {len(wanted)} differ (found, wanted)")

        eventually(same, 120)
        new = self.changes()[len(before):]
        self.assertLessEqual(len(new), 4 * 50)
        # Where what is left does not tell the instant, it is that of the decision.
        self.assertEqual(set(), {c.what for c in self.changes() if c.since < restarted} - self.told.true)


class FirstStartTest(Case):
    settings = {"checkpoint.interval": "20ms"}
    roles = ("sink",)

    def test_everybody_on_a_topic_that_was_there_before_first(self):
        """Who was learnt behind the last checkpoint of the learning is reviewed like the others."""
        now = now_ms() - 1000000
        for n in range(12000):
            self.told.flip(f"u{n}", now + n, a=True, b=False)
            self.told.producer.poll(0)
        self.told.done()
        self.materialize = self.site.start("materialize")
        self.check_all()


class BacklogTest(Case):
    roles = ()

    def membership(self, name, user, version, status="realized"):
        key, now = person_key("id", user), now_ms()
        value = {"audience": name, "namespace": "id", "personId": user, "status": status, "since": now, "version": version, "cause": "event",
                 "eventId": None, "eventTime": None, "emittedAt": now, "audienceVersion": 1}  # fmt: skip
        return {"key": key + b"|" + name.encode(), "value": encode("membership", value), "partition": partition_of(key, 4)}

    def test_definitions_change_while_a_backlog_is_read_backlog(self):
        users = 40000
        produce(self.kafka, f"{self.prefix}.memberships", [self.membership("in-a", f"u{n}", EPOCH + n) for n in range(users)])
        stop = threading.Event()

        def keep_defining():
            for n in range(1000):
                self.site.define(audience(f"more-{n % 3}", A, name=str(n)))
                if stop.is_set():
                    return

        definer = threading.Thread(target=keep_defining)
        definer.start()
        try:
            sink = self.site.start("sink")
            eventually(lambda: self.assertEqual(users, sink.metric("rollcall_sink_changes_total")), 60)
        finally:
            stop.set()
            definer.join()


class GroupTest(Case):
    def test_processes_come_and_go_group(self):
        """A second process of each role joins, the first is killed, comes back, and one stands still until its place is gone."""
        random = seed_of_run("group")
        loader = threading.Thread(target=self.load, args=(random, 300, 40000, 0.05))
        loader.start()
        time.sleep(1)
        more = [self.site.start(role, name=f"{role}2", ready=False) for role in self.roles]
        for process in more:
            process.wait_ready()
        self.materialize.kill()
        self.sink.kill()
        time.sleep(3)
        self.materialize.start()
        self.sink.start()
        for process in (self.materialize, more[1]):
            process.pause()
        time.sleep(15)
        for process in (self.materialize, more[1]):
            process.resume()
        more[0].terminate()
        loader.join()
        self.check_store(60)
        seen = self.changes()
        emitted = {c.what for c in seen}
        self.assertEqual(set(), emitted - self.told.true, "false changes")
        self.assertEqual(set(), self.told.true - emitted, "missing changes")
        again = len(seen) - len(emitted)
        print(f"{len(emitted)} changes, {again} told again", flush=True)


class StoreTest(Case):
    def test_redis_wiped_while_idle_wiped(self):
        self.load(seed_of_run("wiped"), 100, 1000)
        self.check_store()
        self.redis.client("FLUSHALL")
        self.check_store()
        self.redis.client("SCRIPT", "FLUSH")
        self.load(seed_of_run("wiped again"), 100, 200)
        self.check_store()

    def test_redis_away_away(self):
        self.load(seed_of_run("away"), 100, 500)
        self.check_store()
        self.redis.kill()
        try:
            self.load(seed_of_run("away again"), 100, 2000)
            row = eventually(lambda: self._in_error())
            self.assertIn("redis", row["state"])
        finally:
            self.redis.start()
        self.check_all()
        self.assertGreater(self.sink.metric("rollcall_sink_retries_total"), 0)

    def _in_error(self):
        (row,) = self.status(self.sink)["destinations"]
        self.assertTrue(row["state"].startswith("error"), row)
        return row

    def test_redis_stopped_under_load_under(self):
        random = seed_of_run("under")
        loader = threading.Thread(target=self.load, args=(random, 200, 20000, 0.01))
        loader.start()
        while loader.is_alive():
            time.sleep(0.5 + random.random())
            self.redis.kill()
            self.redis.start()
        loader.join()
        self.check_all()


class DefinitionTest(Case):
    def test_new_edited_deleted_while_running_defs(self):
        self.load(seed_of_run("defs"), 100, 1000)
        self.check_store()
        self.site.define(audience("late", {"or": [A, B]}))
        a, b = (lambda u: self.told.state[u]["a"]), (lambda u: self.told.state[u]["b"])
        wanted = {("late", ("id", u)) for u in self.told.state if a(u) or b(u)}

        def members(name):
            return {k for k, v in self.in_store().items() if k[0] == name and v[0] == "realized"}

        eventually(lambda: self.assertEqual(wanted, members("late")))
        self.assertEqual({"definition"}, {c.cause for c in self.changes() if c.target == "late"})
        self.site.define(audience("late", both(A, B)))
        wanted = {("late", ("id", u)) for u in self.told.state if a(u) and b(u)}
        eventually(lambda: self.assertEqual(wanted, members("late")))
        self.site.run("delete", "audience", "late")
        eventually(lambda: self.assertEqual(set(), members("late")))
        self.assertTrue(any(k[0] == "late" for k in self.in_store()))

    def test_a_type_of_destination_that_is_not_there_yet_refused(self):
        self.site.define({"kind": "destination", "id": "crm", "type": "http", "url": "https://crm.invalid/x"},
                         audience("to-crm", A, destinations=["crm"]))  # fmt: skip
        self.told.flip("u1", now_ms(), a=True, b=False)
        self.told.done()
        self.check_store()

        def told():
            errors = self.status(self.sink)["errors"]
            self.assertTrue(any("to-crm" in e and "http" in e for e in errors), errors)

        eventually(told)

    def test_late_destination_gets_the_members_first_dest(self):
        self.load(seed_of_run("dest"), 100, 500)
        self.check_store()
        target = self.site.folder / "copy.jsonl"
        self.site.define({"kind": "destination", "id": "copy", "type": "file", "url": f"file:{target}"},
                         audience("in-a", A, destinations=["copy", "profiles"]))  # fmt: skip
        wanted = {k[1][1]: v for k, v in self.told.now.items() if k[0] == "in-a"}

        def same():
            rows = [json.loads(line) for line in target.read_text().splitlines()] if target.exists() else []
            last = {}
            for row in rows:
                if row["version"] >= last.get(row["personId"], {"version": -1})["version"]:
                    last[row["personId"]] = row
            self.assertEqual({u: v for u, v in wanted.items()}, {u: (r["status"], r["since"]) for u, r in last.items()})
            self.assertEqual({"in-a"}, {r["audience"] for r in rows})

        eventually(same)

    def test_destination_that_goes_and_comes_back_back(self):
        target = self.site.folder / "copy.jsonl"
        copy = {"kind": "destination", "id": "copy", "type": "file", "url": f"file:{target}"}
        self.site.define(copy, audience("in-a", A, destinations=["copy", "profiles"]))
        self.load(seed_of_run("back"), 50, 100)
        self.check_store()
        self.site.define(audience("in-a", A, destinations=["profiles"]))
        self.load(seed_of_run("back again"), 50, 200)
        self.check_store()
        self.site.define(audience("in-a", A, destinations=["copy", "profiles"]))
        wanted = {k[1][1]: v for k, v in self.told.now.items() if k[0] == "in-a"}

        def same():
            last = {}
            for row in map(json.loads, target.read_text().splitlines()):
                if row["version"] >= last.get(row["personId"], {"version": -1})["version"]:
                    last[row["personId"]] = row
            self.assertEqual(wanted, {u: (r["status"], r["since"]) for u, r in last.items()})

        eventually(same)

    def test_size_limit_limit(self):
        self.site.define(audience("few", A, size_limit=5))
        now = now_ms()
        for n in range(20):
            self.told.flip(f"u{n}", now + n, a=True, b=False)
        self.told.done()

        def told():
            rows = [(r["members"], r["state"]) for r in self.status(self.materialize)["audiences"] if r["id"] == "few"]
            self.assertEqual(rows, [(5, "error: size limit")])

        eventually(told)
        self.assertEqual(5, len({c.person for c in self.changes() if c.target == "few"}))
        self.materialize.kill()
        self.materialize.start()
        eventually(told)
        self.site.define(audience("few", A, size_limit=100))
        eventually(lambda: self.assertEqual(20, len({c.person for c in self.changes() if c.target == "few"})))


class RetentionTest(Case):
    settings = {"checkpoint.interval": "100ms", "memberships.exit_retention": "2s"}

    def test_exits_get_their_tombstone_tomb(self):
        now = now_ms()
        self.told.flip("stays", now, a=True, b=False)
        self.told.flip("goes", now, a=True, b=False)
        self.told.flip("returns", now, a=True, b=False)
        self.told.flip("goes", now + 10, a=False)
        self.told.flip("returns", now + 10, a=False)
        self.told.flip("returns", now + 20, a=True)
        self.told.done()
        self.check_all()

        def buried():
            records = read_all(self.kafka, f"{self.prefix}.memberships")
            return {r.key for r in records if r.value is None}

        wait_until(lambda: b"id:goes|in-a" in buried(), 15)
        self.assertEqual({b"id:goes|in-a", b"id:goes|a-not-b"}, buried())
        self.told.flip("goes", now + 30, a=True)
        self.told.done()
        seen = self.check_all()
        mine = [c for c in seen if c.person == ("id", "goes") and c.target == "in-a"]
        self.assertEqual(sorted(c.version for c in mine), [c.version for c in mine])


if __name__ == "__main__":
    unittest.main()
