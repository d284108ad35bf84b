"""Other people's clients beside Rollcall: Kafka's own Java producer feeds a dataset topic, kcat and an Avro library that knows nothing
of Rollcall read what comes out, plain and with Confluent framing. What lies in the wrong partition is told; topics that are not keyed
are re-keyed."""

import io
import json
import random
import subprocess
import unittest

import fastavro

from support import (
    ROOT,
    Kafka,
    Redis,
    Registry,
    confluent_unframe,
    create_topic,
    end_offsets,
    eventually,
    java_produce,
    partition_of,
    person_key,
    produce,
    read_all,
    topic_partitions,
    wait_until,
)
from support.recompute import Changes, now_ms, snapshot
from support.site import Pipeline, audience, dataset, event, of_type, segment

VIEWED = [segment("viewed", of_type("view", window="1h")), audience("viewed")]


def schema_of(name):
    return json.loads((ROOT / "schemas" / f"{name}.avsc").read_text())


def read_avro(schema, raw):
    source = io.BytesIO(raw)
    value = fastavro.schemaless_reader(source, schema, schema)
    assert source.read() == b"", "bytes left after the datum"
    return value


class ClientsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.redis = Redis().start()
        cls.addClassCleanup(cls.redis.close)

    def site(self, prefix, **settings):
        site = Pipeline(self.kafka, self.redis, settings={"topics.prefix": prefix, "group.prefix": prefix, **settings})
        self.addCleanup(site.close)
        return site

    def dead(self, prefix):
        return read_all(self.kafka, f"{prefix}.deadletters")

    def wait_members(self, prefix, persons, timeout=30):
        eventually(lambda: self.assertEqual({p for _, p in snapshot(self.redis, prefix)[0]}, persons), timeout)

    def test_a_java_producer_with_the_default_partitioner(self):
        site = self.site("java")
        site.define(dataset(topic="java.web"), *VIEWED)
        site.start("run")
        users = [f"u{n * 7919}" for n in range(300)] + ["åäö-é", "𝄞", "with space", "a:b", "x" * 200]
        java_produce(self.kafka, "java.web", [(f"id:{u}", json.dumps({"user": u, "ts": now_ms(), "type": "view"})) for u in users])
        self.wait_members("java", {("id", u) for u in users})
        self.assertEqual(self.dead("java"), [])
        for topic, key in (("java.web", lambda k: k), ("java.segments", lambda k: k.rpartition(b"|")[0]),
                           ("java.memberships", lambda k: k.rpartition(b"|")[0])):  # fmt: skip
            for record in read_all(self.kafka, topic):
                self.assertEqual(record.partition, partition_of(key(record.key), 4), record)

    def test_kcat_and_an_avro_library_read_memberships(self):
        site = self.site("kcat")
        namespace = "na:me\\space"
        site.define(dataset(topic="kcat.web", person={"namespace": namespace, "id": {"path": "user"}}), *VIEWED)
        run = site.start("run")
        sent = now_ms()
        produce(self.kafka, "kcat.web",
                [(person_key(namespace, f"u{n}"), event(f"u{n}", sent)[1]) for n in range(40)])  # fmt: skip
        wait_until(lambda: len(Changes(self.kafka, "kcat.memberships")) == 40, 20, "40 changes")
        run.terminate()

        # kcat: keys as text, then each value as it is.
        lines = subprocess.run(["kcat", "-C", "-e", "-q", "-b", self.kafka.bootstrap, "-t", "kcat.memberships", "-f", "%p %o %S %k\\n"],
                               capture_output=True, check=True, timeout=30).stdout.decode().splitlines()  # fmt: skip
        self.assertEqual({line.split(" ", 3)[3] for line in lines}, {f"{person_key(namespace, f'u{n}').decode()}|viewed" for n in range(40)})
        schema = schema_of("membership")
        for line in lines[:5]:
            partition, offset, size, key = line.split(" ", 3)
            raw = subprocess.run(["kcat", "-C", "-e", "-q", "-b", self.kafka.bootstrap, "-t", "kcat.memberships", "-p", partition, "-o",
                                  offset, "-c", "1", "-D", "", "-f", "%s"], capture_output=True, check=True, timeout=30).stdout  # fmt: skip
            self.assertEqual(len(raw), int(size))
            value = read_avro(schema, raw)
            self.assertEqual(set(value), {"audience", "namespace", "personId", "status", "since", "version", "cause", "eventId",
                                          "eventTime", "emittedAt", "audienceVersion"})  # fmt: skip
            self.assertEqual((value["audience"], value["namespace"], value["status"], value["cause"], value["audienceVersion"]),
                             ("viewed", namespace, "realized", "event", 1))  # fmt: skip
            self.assertEqual(person_key(value["namespace"], value["personId"]).decode() + "|viewed", key)
        segments = [read_avro(schema_of("segment_membership"), r.value) for r in read_all(self.kafka, "kcat.segments")]
        about_persons = [v for v in segments if not v["segment"].startswith("_live.")]
        self.assertEqual({v["segment"] for v in about_persons}, {"viewed", "_exists.web"})
        self.assertEqual(len(about_persons), 80)
        self.assertEqual({v["segment"] for v in segments if v not in about_persons}, {"_live.viewed"})
        for change in Changes(self.kafka, "kcat.memberships"):
            self.assertEqual((change.since, change.event_time), (sent, sent))
            topic, partition, offset = change.event_id.split(":")
            self.assertEqual((topic, len(partition), len(offset)), ("kcat.web", 20, 20))

    def test_confluent_framing(self):
        with Registry() as registry:
            site = self.site("framed", **{"registry.url": registry.url, "payload.framing": "confluent"})
            site.define(dataset(topic="framed.web"), *VIEWED)
            run = site.start("run")
            produce(self.kafka, "framed.web", [event(f"u{n}", now_ms()) for n in range(10)])
            self.wait_members("framed", {("id", f"u{n}") for n in range(10)})
            records = read_all(self.kafka, "framed.memberships")
            for record in records:
                number, datum = confluent_unframe(record.value)
                value = read_avro(json.loads(registry.schemas[number]), datum)
                self.assertEqual((value["audience"], value["status"]), ("viewed", "realized"))
                self.assertIn(number, registry.subjects["framed.memberships-value"])
            self.assertEqual(len(site.run("members", "viewed", "--json").rows), 10)
            run.terminate()

    def test_what_lies_in_the_wrong_partition_is_told(self):
        site = self.site("wrong")
        site.define(dataset(topic="wrong.web"), *VIEWED)
        run = site.start("run")
        ts = now_ms()
        right = [event(f"right{n}", ts) for n in range(20)]
        wrong = []
        for n in range(20):
            key, value = event(f"wrong{n}", ts)
            wrong.append({"key": key, "value": value, "partition": (partition_of(key, 4) + 1 + n % 3) % 4, "headers": [("trace", b"t")]})
        # What counts is where the record lies, not its key.
        keyless = [{"key": None, "value": event(f"keyless{n}", ts)[1], "partition": partition_of(f"id:keyless{n}".encode(), 4)} for n in range(5)]
        placed = produce(self.kafka, "wrong.web", [*right, *wrong, *keyless])
        self.wait_members("wrong", {("id", f"right{n}") for n in range(20)} | {("id", f"keyless{n}") for n in range(5)})
        dead = wait_until(lambda: len(found := self.dead("wrong")) == 20 and found, 20, "20 dead letters")
        by_place = {(int(d.headers["source.partition"]), int(d.headers["source.offset"])): d for d in dead}
        for record, place in zip(wrong, placed[20:40]):
            letter = by_place[place]
            self.assertEqual((letter.key, letter.value), (record["key"], record["value"]))
            self.assertEqual((letter.headers["reason"], letter.headers["source.topic"], letter.headers["trace"]), (b"wrong partition", b"wrong.web", b"t"))
        self.assertEqual(run.metric("rollcall_ingest_dead_letters_total", reason="wrong partition"), 20)

    def test_topics_that_are_not_keyed_are_rekeyed(self):
        create_topic(self.kafka, "loose.web", 3)  # another count than the rest, and no keys
        site = self.site("loose")
        site.define(dataset(topic="loose.web", keyed=False), segment("both", of_type("view", count={"ge": 2}, window="1h")), audience("both"))
        self.assertEqual(topic_partitions(self.kafka)["loose.events.web"], 4)
        run = site.start("run")
        chance = random.Random(3)
        users = [f"u{n}" for n in range(60)]
        records = [{"key": chance.choice([None, b"x"]), "value": event(u, now_ms())[1], "partition": chance.randrange(3),
                    "headers": [("h", b"1")]} for u in users * 2]  # fmt: skip
        placed = produce(self.kafka, "loose.web", records)
        produce(self.kafka, "loose.web", [{"key": None, "value": b"{broken", "partition": 1}])
        self.wait_members("loose", {("id", u) for u in users})
        rekeyed = read_all(self.kafka, "loose.events.web")
        self.assertEqual(len(rekeyed), 120)
        by_user = {}
        for r in rekeyed:
            user = json.loads(r.value)["user"]
            self.assertEqual((r.key, r.partition), (f"id:{user}".encode(), partition_of(r.key, 4)))
            by_user.setdefault(user, []).append(r)
        # The event id is the original's position.
        original = {}
        for record, (partition, offset) in zip(records, placed):
            original.setdefault(json.loads(record["value"])["user"], set()).add(f"loose.web:{partition:020}:{offset:020}")
        # (Two events that overtook each other on the way may leave it untold.)
        by_event = [c for c in Changes(self.kafka, "loose.memberships") if c.event_id]
        self.assertGreater(len(by_event), 30)
        for change in by_event:
            self.assertIn(change.event_id, original[change.person[1]], change)
        (dead,) = wait_until(lambda: self.dead("loose"), 20, "the broken one")
        self.assertEqual((dead.value, dead.headers["reason"], dead.headers["source.topic"]), (b"{broken", b"broken json", b"loose.web"))
        # A restart re-keys nothing twice that counts, and nothing is lost.
        run.kill()
        produce(self.kafka, "loose.web", [{"key": None, "value": event("later", now_ms())[1], "partition": 0}] * 1
                + [{"key": None, "value": event("later", now_ms() + 1)[1], "partition": 2}])  # fmt: skip
        run.start()
        self.wait_members("loose", {("id", u) for u in [*users, "later"]})
        self.assertGreaterEqual(sum(end_offsets(self.kafka, "loose.events.web").values()), 122)


if __name__ == "__main__":
    unittest.main()
