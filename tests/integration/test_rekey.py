"""A topic that is not keyed by person: it is re-keyed, its records count once whatever happens on the way, and what has no person goes
to the dead letters from where it lay."""

import collections
import json
import time
import unittest

from support import Kafka, Redis, create_topic, eventually, partition_of, produce, read_all, topic_partitions
from support.recompute import now_ms, snapshot
from support.site import Pipeline, audience, dataset, event, of_type, segment

CALLS = {
    "kind": "dataset", "id": "calls", "topic": "calls.raw", "format": "json", "keyed": False,
    "person": {"namespace": {"kafka": {"header": "ns"}}, "id": {"kafka": "key"}}, "timestamp": {"kafka": "timestamp"},
    "where": {"not": {"field": "type", "eq": "noise"}}, "fields": {"type": {"path": "type", "type": "string"}},
}  # fmt: skip
PERSONS, RECORDS = 40, 2000


class RekeyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.redis = Redis().start()
        cls.addClassCleanup(cls.redis.close)

    def test_events_of_an_unkeyed_topic_count_once(self):
        create_topic(self.kafka, "calls.raw", 3)  # another number than that of the topics with person keys
        create_topic(self.kafka, "web.events", 4)
        site = Pipeline(self.kafka, self.redis, settings={"checkpoint.interval": "300ms"})
        self.addCleanup(site.close)
        counts = [segment(f"calls-{n}", of_type("call", window="30d", count={"eq": n}), dataset=["calls", "web"]) for n in range(40, 61)]
        site.define(CALLS, dataset(), *counts, *[audience(s["id"]) for s in counts])
        site.start_all()
        self.assertEqual(topic_partitions(self.kafka)["rollcall.events.calls"], 4)

        records, bad, calls = [], [], collections.Counter()
        for n in range(RECORDS):
            user = str(n * 7 % PERSONS)
            record = {"key": user.encode(), "value": json.dumps({"type": "noise" if n % 50 == 7 else "call"}).encode(), "headers": {"ns": b"id"},
                      "timestamp": now_ms(), "partition": n % 3}  # fmt: skip
            if n % 100 == 3:
                record["key"] = None
                bad.append(record)
            elif n % 50 != 7:
                calls[user] += 1
            records.append(record)
        produce(self.kafka, "web.events", [event(user, now_ms(), "call") for user in map(str, range(0, PERSONS, 2))])
        for user in range(0, PERSONS, 2):
            calls[str(user)] += 1

        produce(self.kafka, "calls.raw", records[: RECORDS // 2])
        site.ingest.kill()
        produce(self.kafka, "calls.raw", records[RECORDS // 2 :])
        site.ingest.start()

        wanted = {f"id:{user}": {f"calls-{n}"} for user, n in calls.items()}

        def told():
            realized = collections.defaultdict(set)
            for (name, person), membership in snapshot(self.redis)[0].items():
                if membership["status"] == "realized":
                    realized[":".join(person)].add(name)
            self.assertEqual(realized, wanted)

        eventually(told, 30)
        time.sleep(1)
        told()

        copies = read_all(self.kafka, "rollcall.events.calls")
        originals = {(c.headers["rollcall.partition"], c.headers["rollcall.offset"]) for c in copies}
        self.assertEqual(len(originals), RECORDS - len(bad) - RECORDS // 50)
        for copy in copies:
            self.assertEqual(copy.partition, partition_of(copy.key, 4))
            self.assertEqual(copy.key, b"id:" + copy.headers["rollcall.key"])
            self.assertEqual(copy.headers["rollcall.topic"], b"calls.raw")
            self.assertEqual(copy.headers["ns"], b"id")
        dead = read_all(self.kafka, "rollcall.deadletters")
        places = {(d.headers["source.topic"], d.headers["source.partition"], d.headers["source.offset"]) for d in dead}
        self.assertEqual(len(places), len(bad))
        self.assertEqual({d.headers["reason"] for d in dead}, {b"missing person"})
        self.assertEqual({place[0] for place in places}, {b"calls.raw"})


if __name__ == "__main__":
    unittest.main()
