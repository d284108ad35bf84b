"""Audiences that come late to a destination, go, and come back: rollcall.memberships is written by the test, and what Redis, an
embedded store and a file hold is compared with it. The topic has far more of others than of who comes, so that reading it again takes
a while, and kill -9 falls into it."""

import json
import random
import threading
import unittest

from confluent_kafka import Producer
from support import Kafka, Redis
from support.basics import eventually, wait_until
from support.recompute import now_ms, rfc3339_ms, snapshot
from support.site import Pipeline, audience, dataset, of_type, segment
from support.topics import encode, partition_of, person_key

PARTITIONS = 4
EVERYWHERE = ["profiles", "r", "f"]  # embedded, Redis, a file


class Writer:
    """Writes memberships as materialize does, and knows what follows: now = {(audience, user): (status, since, version)}."""

    def __init__(self, kafka, topic):
        self.topic, self.now, self.version = topic, {}, 1 << 32
        self.lock = threading.Lock()
        self.producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, "linger.ms": 0, "acks": "all"})

    def tell(self, name, user, realized=True):
        with self.lock:
            self.version += 1
            key, now, status = person_key("id", user), now_ms(), "realized" if realized else "exited"
            value = {"audience": name, "namespace": "id", "personId": user, "status": status, "since": now, "version": self.version,
                     "cause": "event", "eventId": None, "eventTime": None, "emittedAt": now, "audienceVersion": 1}  # fmt: skip
            self.producer.produce(self.topic, key=key + b"|" + name.encode(), value=encode("membership", value),
                                  partition=partition_of(key, PARTITIONS))  # fmt: skip
            self.now[name, user] = (status, now, self.version)
            self.producer.poll(0)

    def done(self):
        assert self.producer.flush(60) == 0

    def of(self, name):
        return {user: value for (audience, user), value in self.now.items() if audience == name}


class LateTest(unittest.TestCase):
    """Destinations that others use already: their groups have passed by what the audience has said so far."""

    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.redis = Redis().start()
        cls.addClassCleanup(cls.redis.close)

    def setUp(self):
        self.prefix = self.id().rpartition("_")[2]
        self.site = Pipeline(self.kafka, settings={"topics.prefix": self.prefix, "group.prefix": self.prefix, "checkpoint.interval": "100ms"})
        self.addCleanup(self.site.close)
        self.file = self.site.folder / "changes.jsonl"
        self.site.settings["sink.default"] = f"embedded:{self.site.folder / 'profiles'}"
        self.site.define(
            dataset(), segment("a", of_type("a")),
            {"kind": "destination", "id": "r", "type": "redis", "url": self.redis.url},
            {"kind": "destination", "id": "f", "type": "file", "url": f"file:{self.file}"},
            {"kind": "destination", "id": "x", "type": "file", "url": f"file:{self.site.folder / 'elsewhere.jsonl'}"},
        )  # fmt: skip
        self.goes("other", EVERYWHERE)
        self.goes("late", ["x"])
        self.writer = Writer(self.kafka, f"{self.prefix}.memberships")
        self.sink = self.site.start("sink")

    def goes(self, name, destinations):
        self.site.define(audience(name, {"segment": "a"}, destinations=destinations))

    # --- what the destinations hold

    def in_redis(self, name):
        found = snapshot(self.redis, self.prefix)[0]
        return {user: (v["status"], v["since"], v["version"]) for (audience, (_, user)), v in found.items() if audience == name}

    def lines(self):
        text = self.file.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def in_file(self, name):
        last = {}
        for row in self.lines():
            if row["audience"] == name and row["version"] >= last.get(row["personId"], ("", 0, 0))[2]:
                last[row["personId"]] = (row["status"], row["since"], row["version"])
        return last

    def in_embedded(self, name, user):
        status, body = self.sink.get(f"/profile?person=id:{user}")
        entry = json.loads(body).get(f"segmentMembership.{name}") if status == 200 else None
        return entry and (entry["status"], rfc3339_ms(entry["lastQualificationTime"]), entry["version"])

    def same(self, wanted, found, where):
        wrong = [(user, found.get(user), wanted.get(user)) for user in {**wanted, **found} if found.get(user) != wanted.get(user)]
        self.assertEqual([], wrong[:5], f"{len(wrong)} of {len(wanted)} differ in {where} (who, found, wanted)")

    def check(self, name, where=("r", "f", "profiles"), timeout=60):
        wanted = self.writer.of(name)
        if "r" in where:
            eventually(lambda: self.same(wanted, self.in_redis(name), "Redis"), timeout)
        if "f" in where:
            eventually(lambda: self.same(wanted, self.in_file(name), "the file"), timeout)
        if "profiles" in where:
            some = dict(random.sample(sorted(wanted.items()), min(300, len(wanted))))
            eventually(lambda: self.same(some, {u: self.in_embedded(name, u) for u in some}, "the embedded store"), timeout)

    def passed_by(self):
        """Every destination's group has passed everything that is on the topic."""
        self.writer.done()
        self.writer.tell("other", "last")
        self.writer.done()
        self.check("other")

    def test_members_first_then_changes_while_killed_late(self):
        for n in range(1500):
            self.writer.tell("late", f"u{n}")
            self.writer.tell("late", f"u{n}", realized=n % 3 > 0)
        for n in range(8000):
            self.writer.tell("other", f"o{n}")
        self.passed_by()
        self.assertEqual({}, self.in_file("late"))

        stop = threading.Event()

        def traffic():
            n = 0
            while not stop.wait(0.001):
                n += 1
                self.writer.tell("other", f"o{random.randrange(500)}", realized=n % 2 > 0)
                self.writer.tell("late", f"u{random.randrange(1700)}", realized=n % 3 > 0)

        loader = threading.Thread(target=traffic)
        loader.start()
        try:
            for _ in range(3):
                before = self.sink.log_text().count("audiences come late")
                self.goes("late", ["x"])
                self.goes("late", ["x", *EVERYWHERE])
                wait_until(lambda: self.sink.log_text().count("audiences come late") > before, 60, "the audience to come")  # noqa: B023
                self.sink.kill()
                self.sink.start()
        finally:
            stop.set()
            loader.join()
        self.writer.done()
        self.check("late")
        self.check("other")
        self.assertEqual(0, self.sink.log_text().count("filling a destination from the beginning", self.sink.log_text().rfind("audiences come")))

    def test_in_order_and_beside_others_order(self):
        users = 12000
        for n in range(users):
            self.writer.tell("late", f"u{n}")
        self.passed_by()
        stop = threading.Event()

        def traffic():
            n = 0
            while not stop.wait(0.0005):
                n += 1
                self.writer.tell("other", f"o{n % 500}", realized=n % 1000 < 500)
                self.writer.tell("late", f"u{n % 300}", realized=n % 600 >= 300)

        loader = threading.Thread(target=traffic)
        loader.start()
        try:
            self.goes("late", ["x", "f"])
            wait_until(lambda: len(self.in_file("late")) == users, 60, "all members in the file")
        finally:
            stop.set()
            loader.join()
        self.writer.done()
        self.check("late", ["f"])
        self.check("other")
        rows, seen = self.lines(), {}
        for row in rows:
            key = row["audience"], row["personId"]
            self.assertGreater(row["version"], seen.get(key, 0), "not in order, or twice without a crash")
            seen[key] = row["version"]
        of_late = [n for n, row in enumerate(rows) if row["audience"] == "late"]
        beside = [row for row in rows[of_late[0] : of_late[users // 2]] if row["audience"] == "other"]
        self.assertTrue(beside, "others waited until the members were there")

    def test_goes_and_comes_back_goes(self):
        for n in range(200):
            self.writer.tell("late", f"u{n}")
        self.goes("late", ["x", *EVERYWHERE])
        self.check("late")
        self.goes("late", ["x"])
        # Nobody goes to `r` any more, and the sink is started anew: who is in there still leaves.
        self.goes("other", ["f", "profiles"])
        self.writer.tell("other", "mark")
        self.writer.done()
        eventually(lambda: self.assertIn("mark", self.in_file("other")))
        self.sink.terminate()
        self.sink.start()
        for n in range(0, 200, 2):
            self.writer.tell("late", f"u{n}", realized=False)
        for n in range(200, 300):
            self.writer.tell("late", f"u{n}")
        self.writer.done()
        here = lambda: {user: v for user, v in self.writer.of("late").items() if int(user[1:]) < 200}  # noqa: E731
        eventually(lambda: self.same(here(), self.in_redis("late"), "Redis"))
        eventually(lambda: self.same(here(), {u: self.in_embedded("late", u) for u in here()}, "the embedded store"))
        self.writer.tell("other", "mark2")
        self.writer.done()
        eventually(lambda: self.assertIn("mark2", self.in_file("other")))
        self.assertEqual({"realized"}, {status for status, _, _ in self.in_file("late").values()}, "a file is told nothing more")
        self.goes("late", ["x", *EVERYWHERE])
        self.check("late")

    def test_what_was_passed_over_is_remembered_ghost(self):
        """A membership comes before its audience is defined, is passed over, and the process dies."""
        self.writer.tell("other", "u1")
        self.writer.tell("ghost", "u1")
        self.writer.tell("other", "u2")
        self.writer.done()
        self.check("other")
        wait_until(lambda: self.sink.log_text().count("that is not defined is passed over") == 4, 30, "all four destinations to pass it over")
        self.sink.kill()
        self.sink.start()
        self.goes("ghost", EVERYWHERE)
        self.check("ghost")

    def test_another_file_begins_with_the_members_file(self):
        for n in range(100):
            self.writer.tell("other", f"o{n}")
        self.passed_by()
        self.file = self.site.folder / "another.jsonl"
        self.site.define({"kind": "destination", "id": "f", "type": "file", "url": f"file:{self.file}"})
        wait_until(self.file.exists, 30)
        self.check("other", ["f"])
        self.writer.tell("other", "new")
        self.writer.done()
        self.check("other", ["f"])
        self.sink.terminate()
        self.sink.start()
        self.writer.tell("other", "newer")
        self.writer.done()
        self.check("other", ["f"])
        self.assertEqual(len(self.writer.of("other")), len(self.lines()), "told again without a reason")


if __name__ == "__main__":
    unittest.main()
