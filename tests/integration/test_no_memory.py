"""The five situations in which a stream has no memory of what came before: a first start over a topic that holds events, a new segment, an edited
one, a lost store, a person who did nothing since the start. Each ends in what a recomputation of the whole topic says."""

# release only: test_backfill.py goes the same ways on the sanitized program

import shutil
import unittest

from support import produce, wait_until
from support.history import DAY, History
from support.recompute import assert_versions, now_ms
from support.site import SLOW, dataset, event, of_type, segment

VIEWERS = segment("viewers", of_type("view", count={"ge": 3}, window="7d"))
QUIET = segment("quiet", {"not": of_type("buy", window="5d")})


class NoMemoryTest(History):
    def running(self, *definitions, history=4000):
        """An ingest that has read a history and serves these definitions."""
        self.define(dataset(topic=self.topic), *definitions)
        self.ingest = self.site.start("ingest")
        self.send(history, 20)
        self.live(*(d["id"] for d in definitions))

    def expect_truth(self):
        truth = super().expect_truth()
        seen = self.changes()
        assert_versions(seen, in_time=False)
        self.assert_turns(seen)
        for id in {id for kind, id in self.definitions if kind == "segment"}:
            self.assertTrue(any(s == id for s, _ in truth), f"nobody is in {id}")
        return truth

    def test_first_start(self):
        self.define(dataset(topic=self.topic), VIEWERS, QUIET)
        self.send(4000, 20)
        self.ingest = self.site.start("ingest")
        self.live("viewers", "quiet")
        self.expect_truth()

    def test_new_segment(self):
        self.running(VIEWERS)
        self.define(QUIET, segment("buyers", of_type("buy", count={"ge": 3}, window="15d")))
        self.send(200)
        self.live("quiet", "buyers")
        self.expect_truth()
        self.assertIn("backfill", {c.cause for c in self.changes() if c.target == "buyers"})

    def test_edited_segment(self):
        self.running(VIEWERS)
        self.expect_truth()
        self.define(segment("viewers", of_type("view", count={"ge": 4}, window="9d")))
        self.send(200)
        self.live("viewers")
        self.expect_truth()
        self.assertIn("definition", {c.cause for c in self.changes()})

    def test_lost_store_in_the_midst_of_a_new_segments_history(self):
        self.running(VIEWERS)
        self.expect_truth()
        self.define(segment("buyers", of_type("buy", count={"ge": 3}, window="15d")))
        self.control("buyers", "rate", "400")
        wait_until(lambda: (self.rows()["buyers"].get("progress") or 0) > 0, 60 * SLOW, "progress")
        self.ingest.kill()
        shutil.rmtree(self.ingest.settings["state.dir"])
        self.send(100)
        self.ingest.start()
        self.control("buyers", "rate", "0")
        self.live("buyers", "viewers")
        self.expect_truth()

    def test_person_silent_since_before_the_start(self):
        """Somebody of whom nothing has come since long before the window of a segment that is added later, nor since the restart."""
        self.define(dataset(topic=self.topic), VIEWERS)
        self.send(1000, 20)
        ts = now_ms() - 300 * DAY
        self.sent += 1
        key, value = event("silent", ts, "view", page="/1", amount=1, n=self.sent)
        produce(self.kafka, self.topic, [(key, value, ts)])
        self.ingest = self.site.start("ingest")
        self.live("viewers")
        self.ingest.terminate()
        self.ingest.start()
        self.define(QUIET)
        self.live("quiet")
        self.assertIn(("quiet", ("id", "silent")), {(s, p) for s, p in self.expect_truth()})


if __name__ == "__main__":
    unittest.main()
