"""Segments warm up while something else is in the way: changes go in transactions, the schema registry is away, a partition goes to a process that is
behind with the definitions."""

# release only: what it shows of processes does not depend on the build, and time is short

import unittest
from collections import Counter

from support import Registry, confluent_frame, confluent_unframe, decode, delete_topic, encode, eventually, partition_of, produce, read_all
from support import wait_until
from support.history import DAY, PERSONS, History
from support.recompute import Changes, Recomputation, now_ms
from support.site import SLOW, audience, dataset, event, of_type, segment

PARTITIONS = 4
# Two schemas under which records of a topic are written: the second has its fields in another order, and one more.
FIELDS = [{"name": "user", "type": "string"}, {"name": "ts", "type": "long"}, {"name": "type", "type": "string"}]
SCHEMAS = [{"type": "record", "name": "Event", "fields": fields} for fields in (FIELDS, [{"name": "extra", "type": "int"}, *FIELDS[::-1]])]


class TroubleTest(History):
    def memberships(self):
        return Changes(self.kafka, f"{self.prefix}.memberships", committed=True)

    def test_each_change_once_while_a_new_and_an_edited_segment_warm_up(self):
        self.site.settings["delivery"], self.committed = "exactly_once", True
        self.define(dataset(topic=self.topic), segment("viewers", of_type("view", count={"ge": 3}, window="7d")), audience("viewers"))
        self.start_two()
        members = self.site.start("materialize")
        self.send(6_000, 40, steady=True)
        self.live("viewers")
        self.control("viewers", "rate", "600")
        self.define(segment("buyers", of_type("buy", count={"ge": 2}, window="30d")), segment("viewers", of_type("view", count={"ge": 3}, window="5d")),
                    audience("both", {"and": [{"segment": "buyers"}, {"segment": "viewers"}]}))  # fmt: skip
        wait_until(lambda: any(r["state"] == "warming" and (r["progress"] or 0) > 0 for r in self.rows().values()), 30 * SLOW, "progress")
        for victim in (self.ingests[0], members, self.ingests[1]):
            self.send(100, steady=True)
            victim.kill()
            self.send(100, steady=True)
            victim.ready = False
            victim.start()
        self.control("viewers", "rate", "0")
        for victim in (self.ingests[0], members):  # as they go over, perhaps
            victim.kill()
            victim.start()
        self.live("buyers", "viewers")
        self.expect_truth()

        def audiences():
            viewers, buyers = ({p for s, p in self.members() if s == name} for name in ("viewers", "buyers"))
            wanted = {("viewers", p) for p in viewers} | {("both", p) for p in viewers & buyers}
            latest = {(c.target, c.person): c for c in sorted(self.memberships(), key=lambda c: c.version)}
            self.assertEqual({key for key, c in latest.items() if c.status == "realized"}, wanted)

        eventually(audiences, 60 * SLOW, interval=0.5)
        for seen in (self.changes(), self.memberships()):
            times = Counter((c.target, c.person, c.version) for c in seen)
            self.assertEqual([key for key, n in times.items() if n > 1][:5], [])
            self.assert_turns(seen)
        self.assertLessEqual({c.cause for c in self.changes() if c.target == "viewers"}, {"event", "time", "definition"})
        self.assertTrue(any(c.cause == "definition" for c in self.changes()) and any(c.cause == "backfill" for c in self.changes()))

    def test_history_waits_for_a_registry_that_is_away_and_nothing_else_does(self):
        with Registry() as registry:
            self.site.settings["registry.url"] = registry.url
            self.site.write("event.avsc", SCHEMAS[0])
            numbers = [registry.register("web-value", schema) for schema in SCHEMAS]
            self.define(dataset(topic=self.topic, format="avro", schema="event.avsc", framing="confluent", fields={"type": {"path": "type", "type": "string"}}),
                        dataset("live", topic=f"{self.prefix}.live"),
                        segment("viewers", of_type("view", window="30d")), segment("here", of_type("view"), "live"))  # fmt: skip
            ingest = self.site.start("ingest")
            # The last record of each partition is under the second schema.
            now, users = now_ms(), [f"p{self.random.randrange(PERSONS)}" for _ in range(3_000)]
            last = [next(u for u in (f"last-{n}" for n in range(1000)) if partition_of(f"id:{u}".encode(), PARTITIONS) == p) for p in range(PARTITIONS)]
            records = []
            for n, user in enumerate(users + last):
                which = int(n >= len(users))
                value = {"user": user, "ts": now - DAY + n, "type": self.random.choice(("view", "buy")) if which == 0 else "buy", "extra": n}
                records.append((f"id:{user}".encode(), confluent_frame(numbers[which], encode(SCHEMAS[which], value)), now - DAY + n))
            records.insert(1_500, (b"id:p1", confluent_frame(999, b"nobody knows how"), now))
            produce(self.kafka, self.topic, records)
            dead = f"{self.prefix}.deadletters"
            wait_until(lambda: len(read_all(self.kafka, dead)) == 1, 30 * SLOW, "the dead letter of the schema that is not there")
            self.live("viewers", "here")

            # A new process has no schema yet. It asks while it reads history, and is killed while it waits.
            ingest.terminate()
            registry.lose(numbers[1])
            ingest.start()
            asked = len(registry.requests)
            self.define(segment("buyers", of_type("buy", window="30d")))
            wait_until(lambda: registry.requests[asked:].count(("GET", f"/schemas/ids/{numbers[1]}")) > 2, 30 * SLOW, "the registry to be asked")
            ingest.kill()
            ingest.start()
            produce(self.kafka, f"{self.prefix}.live", [event("somebody", now_ms())])
            wait_until(lambda: [c for c in self.changes() if c.target == "here"], 20 * SLOW, "live traffic to go on meanwhile")
            wait_until(lambda: self.rows()["buyers"]["state"] == "warming", 20 * SLOW, "status to say that it warms up")
            self.assertEqual([c for c in self.changes() if c.target == "buyers"], [])
            registry.find(numbers[1])
            self.live("buyers")

            def decoded(raw):
                number, datum = confluent_unframe(raw)
                return decode(SCHEMAS[numbers.index(number)], datum)

            truth = Recomputation(list(self.definitions.values()), self.kafka, {"web": decoded}, lambda r: r.value[:5] == confluent_frame(999, b""))
            wanted = {(r["segment"], (r["namespace"], r["id"])) for r in truth.evaluator.members_at(now_ms())}
            eventually(lambda: self.assertEqual(self.members(), wanted), 30 * SLOW)
            self.assert_turns(self.changes())
            self.assertEqual(len(read_all(self.kafka, dead)), 1, "history makes no dead letter of what was one already")

    def test_a_release_passes_over_nothing_that_waits_for_the_registry(self):
        with Registry() as registry:
            self.site.settings["registry.url"] = registry.url
            self.site.write("event.avsc", SCHEMAS[0])
            numbers = [registry.register("web-value", schema) for schema in SCHEMAS]
            self.define(dataset(topic=self.topic, format="avro", schema="event.avsc", framing="confluent", fields={"type": {"path": "type", "type": "string"}}),
                        segment("heavy", of_type("buy", count={"ge": 150}, window="30d")))  # fmt: skip
            ingest = self.site.start("ingest", settings={"state.person_events": 100})
            now = now_ms()
            produce(self.kafka, self.topic, [
                (b"id:bot", confluent_frame(numbers[n // 110], encode(SCHEMAS[n // 110], {"user": "bot", "ts": now - 200 + n, "type": "buy", "extra": n})))
                for n in range(160)
            ])  # fmt: skip
            eventually(lambda: self.assertEqual(ingest.metric("rollcall_ingest_quarantined_persons"), 1), 20 * SLOW)
            ingest.terminate()
            registry.lose(numbers[1])
            ingest.start(**{"state.person_events": 1000})
            self.assertIn("registry", self.site.run("release", "id:bot", code=69, timeout=60 * SLOW).err)
            self.assertEqual(ingest.metric("rollcall_ingest_quarantined_persons"), 1)
            registry.find(numbers[1])
            self.site.run("release", "id:bot", timeout=60 * SLOW)
            eventually(lambda: self.assertEqual({(c.status, c.cause) for c in self.changes()}, {("realized", "restore")}), 10 * SLOW)

    def test_a_partition_goes_to_a_process_that_is_behind(self):
        """It waits for what it has not heard of yet, but not for ever."""
        self.site.settings.update({"checkpoint.interval": "100ms", "kafka.session.timeout.ms": 6000})
        self.define(dataset(topic=self.topic), segment("viewers", of_type("view", window="30d")))
        for n in range(2):
            self.define(segment("viewers", of_type("view", window="30d"), description=f"edited {n}"))
        self.start_two()
        self.send(2_000, 10, steady=True)
        self.live("viewers")

        # One hears nothing more of definitions. The other reads them as it starts again, serves a new segment, and dies.
        ahead, behind = self.ingests
        self.kafka.throttle(f"{self.prefix}-ingest-definitions", 1)
        self.define(segment("buyers", of_type("buy", window="30d")))
        ahead.kill()
        ahead.start()
        wait_until(lambda: [c for c in self.changes() if c.target == "buyers"], 30 * SLOW, lambda: f"members of the new segment\n{ahead.tail()}", interval=0.3)
        wait_until(lambda: ahead.metric("rollcall_ingest_warming_segments") == 0, 30 * SLOW, "the new segment to serve")
        ahead.kill()
        wait_until(lambda: "its former owner had read more of the definitions" in behind.log_text() or self.exits("buyers"), 40 * SLOW,
                   lambda: f"the partitions to be taken\n{behind.tail()}")  # fmt: skip
        self.assertEqual(len(self.exits("buyers")), 0, "told to have left a segment that is there")
        behind.kill()
        for ingest in self.ingests:
            ingest.start()
        self.live("buyers")
        self.expect_truth()
        self.assertEqual(self.exits("buyers"), [])
        self.assert_turns(self.changes())

        # A topic that was made anew, and is shorter than it was: it goes on all the same.
        for ingest in self.ingests:
            ingest.terminate()
        delete_topic(self.kafka, f"{self.prefix}.definitions")
        self.define(*self.definitions.values())
        ahead.start()
        wait_until(lambda: "are not waited for any longer" in ahead.log_text(), 40 * SLOW, lambda: f"the wait to end\n{ahead.tail()}")
        self.live("buyers")
        self.send(200, steady=True)
        self.expect_truth()
        self.assertEqual(self.exits("buyers"), [])

    def exits(self, id):
        return [c for c in self.changes() if c.target == id and c.status == "exited"]


if __name__ == "__main__":
    unittest.main()
