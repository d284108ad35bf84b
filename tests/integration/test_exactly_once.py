"""delivery = exactly_once: ingest and materialize are killed at moments of chance under load. A reader of committed records sees each change once,
and what it sees is what recomputation says; what was in a transaction that ended with its process is seen by nobody."""

# release only: the fates of processes are the same in any build, and time is short

import time
import unittest
from collections import Counter

from support import Kafka, Redis, wait_until
from support.recompute import Changes, Recomputation, assert_same_changes, assert_store, assert_versions, now_ms, snapshot
from support.site import Pipeline, ecom_definitions, ecom_file, seed_of_run

SPAN_S = 45
GRACE_MS = 2000  # the machine is busy with restarts; events may be this late
KILLS = 8
TOPICS = ("rollcall.memberships", "rollcall.segments")


class ExactlyOnceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.redis = Redis().start()
        cls.addClassCleanup(cls.redis.close)
        cls.site = Pipeline(cls.kafka, cls.redis, settings={"delivery": "exactly_once"})
        cls.addClassCleanup(cls.site.close)
        dataset, segments, audiences = ecom_definitions(f"{GRACE_MS}ms")
        cls.definitions = [dataset, *segments, *audiences]
        cls.site.define(*cls.definitions)
        cls.site.start_all()
        cls._load(seed_of_run("test_exactly_once"))
        time.sleep(2)
        cls.store, cls.at = snapshot(cls.redis)
        cls.until = now_ms() - GRACE_MS - 500
        written = [Changes(cls.kafka, topic) for topic in TOPICS]
        time.sleep(1)  # what is in an open transaction now is committed then
        cls.seen, cls.segments = (Changes(cls.kafka, topic, committed=True) for topic in TOPICS)
        cls.hidden = [change for all, seen in zip(written, (cls.seen, cls.segments)) for change in set(all) - set(seen)]
        cls.truth = Recomputation(cls.definitions, cls.kafka)
        cls.timeline = cls.truth.timeline(now_ms())

    @classmethod
    def _load(cls, random):
        sending = cls.site.send("--dataset", "ecom", "--sort", "--pace", f"{SPAN_S}s", ecom_file())
        began = time.monotonic()
        for n in range(KILLS):
            time.sleep(max(0.0, began + 2 + n * (SPAN_S - 4) / KILLS + 2 * random.random() - time.monotonic()))
            assert sending.running(), f"the load ended before the {n + 1}th kill"
            roles = random.choice([["ingest"], ["materialize"], ["ingest", "materialize"]])
            for role in roles:
                getattr(cls.site, role).kill()
            at = time.monotonic()
            for role in roles:
                getattr(cls.site, role).ready = False
                getattr(cls.site, role).start()
            if random.random() < 0.4:  # again, before it is ready or just after
                time.sleep(random.uniform(0, 2))
                for role in roles:
                    getattr(cls.site, role).kill()
                    getattr(cls.site, role).start()
            for role in roles:
                getattr(cls.site, role).wait_ready()
            print(f"{at - began:6.1f} s  kill {' '.join(roles)}; back after {time.monotonic() - at:.2f} s", flush=True)
        assert sending.done()["sent"] == 31106

    def once(self, seen):
        self.assertGreater(len(seen), 1000)
        for what, key in (("version", lambda c: (c.target, c.person, c.version)), ("content", lambda c: c.what)):
            times = Counter(map(key, seen))
            twice = [c for c in seen if times[key(c)] > 1]
            self.assertEqual(twice, [], f"{len(twice)} of {len(seen)} come twice, by {what}:\n" + "\n".join(map(str, twice[:12])))

    def test_each_change_of_an_audience_once(self):
        self.once(self.seen)
        assert_versions(self.seen)

    def test_each_change_of_a_segment_once(self):
        self.once(self.segments)
        assert_versions(self.segments)

    def test_what_is_seen_is_true_and_all_of_it(self):
        n = assert_same_changes(self.truth, self.seen, self.until, timeline=self.timeline)
        print(f"\n{n} changes, the same as recomputed")

    def test_redis_equals_the_recomputation(self):
        print(f"\n{assert_store(self.timeline, self.store, self.at, GRACE_MS + 1000)} memberships in Redis as recomputed")

    def test_something_was_aborted_and_nobody_saw_it(self):
        print(f"\n{len(self.hidden)} records of transactions that ended with their process")
        self.assertGreater(len(self.hidden), 0)

    def test_the_offsets_of_the_groups_are_those_of_the_transactions(self):
        # Nothing comes any more, so what is committed is all that there is.
        def behind():
            rows = [row for row in self.site.run("status", "--json").rows if row["type"] == "partition"]
            return [row for row in rows if row["lag_records"]]

        # A transaction that ended with its process is settled when the broker's patience is over.
        wait_until(lambda: not behind(), 40, lambda: f"no lag: {behind()}")


class EmbeddedTest(unittest.TestCase):
    def test_the_embedded_broker_refuses_it(self):
        with Pipeline(settings={"delivery": "exactly_once"}) as site:
            result = site.run("run", "--embedded", code=78)
            self.assertIn("delivery = at_least_once", result.err)


if __name__ == "__main__":
    unittest.main()
