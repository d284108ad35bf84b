"""Imports: history from files that never was on a dataset's topic comes onto it, and is taken in without telling what was true in between: each person and segment
at most once, also when the import is killed and begun anew, and an ingest process dies on the way. Segments that come later read it like any other
history, and so does an installation that begins on the topic."""

import re
import unittest

from support import eventually, produce, program, wait_until
from support.basics import Child
from support.program import Installation
from support.history import DAY, PERSONS, History
from support.recompute import assert_versions, now_ms
from support.site import SLOW, dataset, event, of_type, segment
from support.topics import read_all

SEGMENTS = (
    segment("carts", of_type("cart", count={"ge": 4}, window="30d")),
    segment("quiet", {"not": of_type("buy", window="20d")}),
    segment("last-buy", {"latest": "type", "is": {"eq": "buy"}}),
    segment("both", {"and": [{"segment": "carts"}, {"segment": "quiet"}]}),
)
IDS = tuple(s["id"] for s in SEGMENTS)


class ImportTest(History):
    def history(self, n):
        """A file of n events of the last 50 days, in no order, of persons of whom some are new."""
        now, lines = now_ms(), []
        for _ in range(n):
            self.sent += 1
            ago = self.random.choice((self.random.randint(DAY, 15 * DAY), self.random.randint(35 * DAY, 50 * DAY)))
            lines.append(event(f"p{self.random.randrange(PERSONS + 60)}", now - ago, self.random.choice(("view", "cart", "buy")), n=self.sent)[1].decode())
        return self.site.write("history.jsonl", "\n".join(lines) + "\n")

    def long_ago(self, n):
        """Live events that are older than the windows of most segments, as their records are."""
        old = []
        for ts in sorted(now_ms() - self.random.randint(36 * DAY, 58 * DAY) for _ in range(n)):
            self.sent += 1
            old.append((*event(f"p{self.random.randrange(PERSONS)}", ts, self.random.choice(("view", "cart", "buy")), n=self.sent), ts))
        produce(self.kafka, self.topic, old)

    def import_(self, file, *more, **how):
        return self.site.run("import", "--dataset", "web", file, "--quiet", "--json", *more, **how)

    def on_topic(self):
        return len(read_all(self.kafka, self.topic))

    def test_only_the_net_is_told(self):
        self.define(dataset(topic=self.topic, event_id={"path": "n"}), *SEGMENTS)
        self.start_two()
        self.long_ago(1_500)
        self.send(2_000, 6, steady=True)
        self.live(*IDS)
        self.expect_truth()
        told, before, there = self.changes(), self.members(), self.on_topic()

        file = self.history(3_000)
        self.assertEqual(self.import_(file, "--dry-run").json["sent"], 3_000)
        self.assertEqual(self.on_topic(), there)

        # Killed in the midst: what is on the topic is known to nobody yet, though processes come and go.
        command = [program.BINARY, "import", "--dataset", "web", str(file), "--quiet", "--rate", "200", *program._settings(self.site.settings)]
        half = Child(command, self.site.folder / "import.log", env=program.environment(self.site.env))
        wait_until(lambda: self.on_topic() > there + 200, 30 * SLOW, "half of it to be there")
        half.kill()
        self.ingests[0].kill()
        self.ingests[0].start()
        self.live(*IDS)
        self.assertEqual(self.changes(), told)

        # Again: the same events are the same. An ingest process dies while they are taken in.
        self.site.run("backfill", "rate", "dataset/web", "100")
        shown = self.import_(file).json
        self.assertEqual((shown["sent"], shown["replay"]), (3_000, True))
        wait_until(lambda: any(r["state"] == "replaying" for r in self.rows().values()), 30 * SLOW, "the replay")
        self.ingests[1].kill()
        self.ingests[1].start()
        self.site.run("backfill", "rate", "dataset/web", "0")
        self.live(*IDS)
        self.expect_truth()
        seen = self.changes()
        assert_versions(seen, in_time=False)
        new = [c for c in seen if c not in told]
        self.assertEqual({c.cause for c in new}, {"backfill"})
        self.assertEqual(sorted((c.target, c.person) for c in new), sorted(before ^ self.members()))
        self.assertTrue(any(c.status == "exited" for c in new) and any(c.person[1] > "p300" for c in new))

        # What comes later reads it too; and state that is built again from the topic knows it.
        self.define(segment("often", of_type("view", count={"ge": 5}, window="60d")))
        self.live("often")
        self.expect_truth()

        # Of what is older than all windows nothing is read again.
        for id in ("last-buy", "often"):
            self.delete(id)
        logs = [len(ingest.log_text()) for ingest in self.ingests]
        self.import_(self.history(200))
        read = lambda: [int(n) for ingest, at in zip(self.ingests, logs) for n in re.findall(r'"reading history" .* records=(\d+)', ingest.log_text()[at:])]  # noqa: E731
        wait_until(lambda: len(read()) == 4, 30 * SLOW, "the replay in each partition")
        self.live("carts", "quiet", "both")
        self.expect_truth()
        self.assertLess(sum(read()), self.on_topic() - 1_000)
        self.beginner()

    def beginner(self):
        """Another installation on the same topic, which has heard of no import."""
        name = f"{self.prefix}-other"
        with Installation(self.kafka, settings={"topics.prefix": name, "group.prefix": name}) as other:
            other.run("apply", "-f", other.write("defined.json", list(self.definitions.values())))
            other.start("ingest")
            mine, self.prefix = self.prefix, name
            try:
                eventually(self.expect_truth, 30 * SLOW)
            finally:
                self.prefix = mine


if __name__ == "__main__":
    unittest.main()
