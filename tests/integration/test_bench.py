"""`rollcall bench`: every measure runs and tells a figure beside its limit. How good the figures are is nobody's business here:
nothing is asserted of time."""

# release only: it measures the program that people run

import re
import unittest

from support import rollcall
from support.basics import ROOT, make_temp

MEASURES = ["throughput", "engine", "segments", "persons", "latency", "exits", "wave", "audiences", "backfill", "sink", "memory", "restart", "restore", "idle"]
WITH_LIMIT = {"throughput", "engine", "segments", "persons", "exits", "wave", "audiences", "backfill", "sink", "memory", "restore"}
SMALL = ["--events", "20000", "--persons", "2000", "--duration", "3s"]
SERVERS = ["--kafka-home", ROOT / "build" / "kafka", "--redis-server", ROOT / "build" / "bin" / "redis-server"]


class Bench(unittest.TestCase):
    def test_all(self):
        page = make_temp("bench") / "page.md"
        done = rollcall("bench", "all", "--json", *SMALL, *SERVERS, "--report", page, timeout=600)
        self.assertEqual({row["measure"] for row in done.rows}, set(MEASURES))
        for row in done.rows:
            with self.subTest(row["measure"]):
                self.assertNotIn("error", row)
                self.assertGreaterEqual(row["product"], 0)
                self.assertIsInstance(row["met"], bool)
                self.assertRegex(row["goal"], r"^(ratio )?[<>]= [0-9.]+")
                self.assertTrue(row["detail"] and row["unit"] and row["what"])
                if row["measure"] in WITH_LIMIT:
                    self.assertGreater(row["limit"], 0)
                    self.assertGreater(row["ratio"], 0)
        text = page.read_text()
        for measure in MEASURES:
            self.assertIn(f"| {measure} |", text)
        self.assertNotIn(str(ROOT), text)

    def test_usage(self):
        self.assertRegex(rollcall("bench", code=64).err, "name measures, or all")
        self.assertRegex(rollcall("bench", "speed", code=64).err, 'no measure "speed"')
        self.assertRegex(rollcall("bench", "all", "--events", "1", code=64).err, "at least")
        missing = rollcall("bench", "engine", *SMALL, "--kafka-home", make_temp("none"), code=69).err
        self.assertRegex(missing, "no folder lib or libs")

    def test_the_page_is_one_of_a_whole_run(self):
        text = (ROOT / "docs" / "performance.md").read_text()
        for measure in MEASURES:
            self.assertRegex(text, re.compile(rf"^- \*\*{measure}\*\*", re.M))


if __name__ == "__main__":
    unittest.main()
