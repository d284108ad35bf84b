"""Segments warm up while something else is in the way: a partition goes to a process that is behind with the definitions."""

# release only: what it shows of processes does not depend on the build, and time is short

import unittest

from support import delete_topic, wait_until
from support.history import History
from support.site import SLOW, dataset, of_type, segment


class TroubleTest(History):
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
