"""A person with more events than state.person_events: frozen, visible, a burden to nobody; and exact again after `rollcall release`."""

# release only: it waits for windows to pass

import json
import time
import unittest

from support import Installation, Kafka
from support.basics import eventually
from support.recompute import Changes, assert_versions, now_ms
from support.site import SLOW, dataset, segment

LIMIT = 1000
WINDOW_S = 12


class QuarantineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.site = Installation(cls.kafka)
        cls.addClassCleanup(cls.site.close)
        cls.site.run("apply", "-f", cls.site.write("defined.json", [
            dataset(event_id={"path": "id"}, grace="200ms"),
            segment("dear", {"avg": "amount", "is": {"ge": 2}, "window": f"{WINDOW_S}s"}),
            segment("busy", {"event": {}, "count": {"ge": 3}, "window": f"{WINDOW_S}s"}),
        ]))  # fmt: skip
        cls.ingest = cls.site.start("ingest", settings={"state.person_events": str(LIMIT)})

    def produce(self, name, user, n, amount):
        start = now_ms()
        rows = [{"user": user, "ts": start + i // 10, "id": f"{name}-{i}", "amount": amount} for i in range(n)]
        path = self.site.folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.site.run("produce", "--dataset", "web", path)

    def standing(self):
        """{(segment, person): status} by what was said last."""
        changes = Changes(self.kafka, "rollcall.segments")
        assert_versions(changes)
        return {(c.target, c.person[1]): (c.status, c.cause) for c in changes if not c.target.startswith("_")}

    def test_frozen_and_released(self):
        site, ingest = self.site, self.ingest
        site.run("release", "id:bot", code=65)  # not quarantined
        site.run("release", "bot", code=64)
        self.produce("few", "bot", 5, 3)
        eventually(lambda: self.assertEqual(self.standing().get(("dear", "bot")), ("realized", "event")), 20 * SLOW)
        self.produce("flood", "bot", LIMIT + 500, 3)
        self.produce("other", "human", 5, 3)
        eventually(lambda: self.assertEqual(self.standing().get(("busy", "human")), ("realized", "event")), 20 * SLOW)
        eventually(lambda: self.assertEqual(ingest.metric("rollcall_ingest_quarantined_persons"), 1), 10 * SLOW)
        self.assertIn("is quarantined", ingest.log.read_text())
        self.assertNotIn("bot", ingest.log.read_text())  # who it is is nobody's business in a log
        why = site.run("explain", "dear", "id:bot", "--json").json
        self.assertEqual((why["quarantined"], why["member"], why["told"]["quarantined"]), (True, True, True))
        self.assertIn("none before `rollcall release`", site.run("explain", "dear", "id:bot").out)
        self.assertEqual(site.run("is", "dear", "id:bot").out, "yes\n")

        # It stays so over a kill -9, and when time would have ended the membership.
        ingest.kill()
        ingest.start()
        time.sleep(WINDOW_S + 1.5 * SLOW)
        eventually(lambda: self.assertEqual(self.standing().get(("busy", "human")), ("exited", "time")), 10 * SLOW)
        self.assertEqual(self.standing()["busy", "bot"], ("realized", "event"))
        self.assertEqual(ingest.metric("rollcall_ingest_quarantined_persons"), 1)

        # A flood that goes on: reading the events again finds too many.
        self.produce("flood-2", "bot", LIMIT + 500, 3)
        self.assertIn("still quarantined", site.run("release", "id:bot", code=75, timeout=60 * SLOW).err)
        self.assertEqual(ingest.metric("rollcall_ingest_quarantined_persons"), 1)
        time.sleep(WINDOW_S + 1)
        self.produce("after", "bot", 5, 1)  # cheap ones: not dear any more, but busy
        self.assertEqual(site.run("release", "id:bot", timeout=60 * SLOW).out.strip(), "id:bot released")
        eventually(lambda: self.assertEqual(self.standing()["dear", "bot"], ("exited", "restore")), 10 * SLOW)
        self.assertEqual(self.standing()["busy", "bot"][0], "realized")
        eventually(lambda: self.assertEqual(ingest.metric("rollcall_ingest_quarantined_persons"), 0), 10 * SLOW)
        eventually(lambda: self.assertEqual(self.standing()["busy", "bot"], ("exited", "time")), (WINDOW_S + 5) * SLOW)
        site.run("release", "id:bot", code=65)


if __name__ == "__main__":
    unittest.main()
