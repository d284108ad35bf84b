"""kill -9 of each consumer in turn, and SIGSTOP for 5 s, during the load: what is known and what was ever said stays exact."""

# release only: the fates of processes are the same in any build, and time is short

import time
import unittest

from support import Kafka, Redis
from support.recompute import Changes, Recomputation, assert_same_changes, assert_store, assert_versions, counts, now_ms, snapshot
from support.site import ROLES, SLOW, Pipeline, ecom_definitions, ecom_file, seed_of_run

SPAN_S = 45
GRACE_MS = 1000  # the machine is busy with restarts; events may be this late


class KillTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.redis = Redis().start()
        cls.addClassCleanup(cls.redis.close)
        cls.site = Pipeline(cls.kafka, cls.redis)
        cls.addClassCleanup(cls.site.close)
        cls.definitions = [d for part in ecom_definitions(f"{GRACE_MS}ms") for d in (part if isinstance(part, list) else [part])]
        cls.site.define(*cls.definitions)
        cls.site.start_all()
        cls._load(seed_of_run("test_kill"))
        time.sleep(1.5 * SLOW)
        cls.store, cls.at = snapshot(cls.redis)
        cls.until = now_ms() - GRACE_MS - 1000 * SLOW  # what time alone brings is told by the grace later
        cls.seen = Changes(cls.kafka)
        cls.truth = Recomputation(cls.definitions, cls.kafka)
        cls.timeline = cls.truth.timeline(now_ms())

    @classmethod
    def _load(cls, random):
        """Six faults: each consumer is killed, each is stopped for 5 s, in an order and at moments of chance."""
        sending = cls.site.send("--dataset", "ecom", "--sort", "--pace", f"{SPAN_S}s", ecom_file())
        faults = [(what, role) for role in ROLES for what in ("kill", "stop")]
        random.shuffle(faults)
        began = time.monotonic()
        for n, (what, role) in enumerate(faults):
            time.sleep(max(0.0, began + 1.5 + n * 7 + random.random() - time.monotonic()))
            assert sending.running(), f"the load ended before the {n + 1}th fault"
            process = getattr(cls.site, role)
            at = time.monotonic()
            if what == "kill":
                process.kill()
                process.start()
            else:
                process.pause()
                time.sleep(5)
                process.resume()
            print(f"{at - began:6.1f} s  {what} {role}; back after {time.monotonic() - at:.2f} s", flush=True)
        result = sending.done()
        assert result["sent"] == result["rows"] == 31106, result

    def test_the_load_was_one(self):
        found = counts(w for w in self.timeline if w[3] <= self.until)
        for name, (entries, exits) in found.items():
            self.assertGreaterEqual(min(entries, exits), 50, name)

    def test_redis_equals_the_recomputation(self):
        known = assert_store(self.timeline, self.store, self.at, GRACE_MS + 500 * SLOW)
        print(f"\n{known} memberships in Redis as recomputed")

    def test_no_false_change_and_none_missing(self):
        n = assert_same_changes(self.truth, self.seen, self.until, timeline=self.timeline)
        print(f"\n{n} changes, the same as recomputed; {len(self.seen)} records on the topic")

    def test_a_version_has_one_content_and_a_receiver_never_goes_back(self):
        assert_versions(self.seen)
        assert_versions(Changes(self.kafka, "rollcall.segments"))


if __name__ == "__main__":
    unittest.main()
