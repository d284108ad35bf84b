"""`run --embedded`: the whole pipeline in one process that brings its broker and its profile store. No Kafka, no Redis, no Java."""

import json
import re
import time
import unittest

from support import Installation, eventually, wait_until
from support.recompute import naive, now_ms, rfc3339_ms
from support.site import SLOW, Sending, audience, dataset, event, of_type, segment, seed_of_run

EVENTS = 200_000 if SLOW == 1 else 40_000
PERSONS = 5_000 if SLOW == 1 else 1_000


class EmbeddedTest(unittest.TestCase):
    def setUp(self):
        self.site = Installation()
        self.addCleanup(self.site.close)
        self.run_process = self.site.start("run", "--embedded")
        # What commands in a second terminal are told: the folder, nothing else.
        self.site.settings = {"state.dir": self.run_process.settings["state.dir"]}

    def define(self, *definitions):
        return self.site.run("apply", "-f", self.site.write("defined.json", list(definitions)), "--json").rows

    def produce(self, rows, *options):
        """Rows of JSON through `produce`; what it says at its end."""
        path = self.site.folder / "events.jsonl"
        with open(path, "wb") as out:
            out.writelines(value + b"\n" for _, value in rows)
        sending = Sending(self.site, "produce", ["--dataset", "web", *options, path])
        return sending.done()

    def members(self, audience_id):
        return {(r["namespace"], r["id"]) for r in self.site.run("members", audience_id, "--json").rows}

    def profile(self, person):
        return {k.partition(".")[2]: (v["status"], rfc3339_ms(v["lastQualificationTime"])) for k, v in self.site.run("profile", person, "--json").json.items()}

    def test_a_second_terminal(self):
        rows = self.define(dataset(), segment("viewed", of_type("view", window="1h")), segment("soon-gone", of_type("buy", window="2s")),
                           audience("viewed"), audience("soon-gone"))  # fmt: skip
        self.assertEqual({r["result"] for r in rows}, {"created"})
        sent = now_ms()
        result = self.produce([event("a", sent), event("b", sent, "buy"), event("b", sent)])
        self.assertEqual((result["sent"], result["bad"]), (3, 0))
        eventually(lambda: self.assertEqual(self.members("viewed"), {("id", "a"), ("id", "b")}), 20)
        # The store that it brings is read while it runs; what leaves by time alone leaves.
        eventually(lambda: self.assertEqual(self.profile("id:b"), {"viewed": ("realized", sent), "soon-gone": ("exited", sent + 2000)}), 20)
        self.assertEqual(self.profile("id:a"), {"viewed": ("realized", sent)})
        self.site.run("profile", "id:nobody", code=65)
        status = self.site.run("status", "--json").rows
        self.assertEqual(sorted(r["role"] for r in status if r["type"] == "process" and r["ready"]), ["ingest", "materialize", "sink"])
        seen = self.site.run("tail", "--from-beginning", "--max", "4", "--json").rows
        self.assertEqual({(r["audience"], r["id"], r["status"], r["since"]) for r in seen},
                         {("viewed", "a", "realized", sent), ("viewed", "b", "realized", sent), ("soon-gone", "b", "realized", sent),
                          ("soon-gone", "b", "exited", sent + 2000)})  # fmt: skip

        # Two at once on one folder.
        self.assertIn(str(self.run_process.pid), self.site.run("run", "--embedded", settings={"http.listen": "127.0.0.1:0"}, code=75).err)
        self.assertTrue(self.run_process.running())

        # The end, and a second one on the same folder: the definitions are kept, the events are not.
        self.run_process.terminate(code=0)
        self.site.run("get", code=69)
        self.run_process.start()
        self.assertEqual(sorted((r["kind"], r["id"], r["version"]) for r in self.site.run("get", "--json").rows),
                         [("audience", "soon-gone", 1), ("audience", "viewed", 1), ("dataset", "web", 1), ("segment", "soon-gone", 1), ("segment", "viewed", 1)])  # fmt: skip
        later = self.run_process.log_text().split("msg=started")[-1]
        self.assertRegex(later, r"(?i)(another|other|new|different) (kafka )?cluster|discard|forgot", "it does not say that what was kept is discarded")
        self.assertEqual(self.members("viewed"), set())
        again = now_ms()
        self.produce([event("c", again)])
        eventually(lambda: self.assertEqual(self.members("viewed"), {("id", "c")}), 20)
        eventually(lambda: self.assertEqual(self.profile("id:c"), {"viewed": ("realized", again)}), 20)

        # kill -9, then the same: definitions applied while it ran are there.
        self.define(segment("late", of_type("late", window="1h")), audience("late"))
        wait_until(lambda: "late" in self.site.run("status").out, 10, "the segment to be taken up", interval=0.3)
        self.run_process.kill()
        self.run_process.start()
        self.assertIn("late", [r["id"] for r in self.site.run("get", "segments", "--json").rows])
        self.produce([event("d", now_ms(), "late")])
        eventually(lambda: self.assertEqual(self.members("late"), {("id", "d")}), 20)

    def test_many_events_through_a_broker_that_forgets(self):
        """A partition holds 5 MiB; these events are several times as much. `produce` waits for the consumers, nothing is lost."""
        chance = seed_of_run("test_embedded")
        definitions = [
            dataset(), segment("often", {"event": {"field": "type", "eq": "view"}, "count": {"ge": 30}, "window": "1d"}),
            segment("rare", {"event": {"field": "type", "eq": "view"}, "count": {"le": 25}, "window": "1d"}),
            segment("buyers", of_type("buy", window="1d")), audience("often"), audience("rare"),
            audience("lookers", {"and": [{"segment": "often"}, {"not": {"segment": "buyers"}}]}),
        ]  # fmt: skip
        self.define(*definitions)
        start = now_ms() - EVENTS  # one a millisecond, in time order
        events = []
        for n in range(EVENTS):
            user = int(PERSONS * chance.random() ** 1.5)
            events.append(event(f"u{user}", start + n, "buy" if chance.random() < 0.01 else "view", page="x" * (60 if SLOW == 1 else 560)))
        assert sum(len(v) for _, v in events) / 4 > 5 * 1024 * 1024
        began = time.monotonic()
        result = self.produce(events)
        self.assertEqual((result["rows"], result["sent"], result["bad"]), (EVENTS, EVENTS, 0))
        print(f"\n{EVENTS} events in {time.monotonic() - began:.1f} s")
        evaluator = naive.load_definitions(definitions)
        evaluator.accept("web", [json.loads(value) for _, value in events])
        wanted = {}
        for row in evaluator.audience_members_at(start + EVENTS + 60_000):
            wanted.setdefault(row["audience"], set()).add((row["namespace"], row["id"]))
        for name, persons in wanted.items():
            self.assertGreater(len(persons), 50, name)

        def assert_all():
            by_id = {r["id"]: r["members"] for r in self.site.run("status", "--json").rows if r["type"] == "audience"}
            self.assertEqual(by_id, {name: len(persons) for name, persons in wanted.items()})

        eventually(assert_all, 60 * SLOW, interval=0.3)
        # One by one, from the profile store: `members` cannot tell, since this broker forgets old changes too.
        last = {}
        for row in evaluator.audience_timeline(start + EVENTS + 60_000):
            last[row["audience"], row["namespace"], row["id"]] = (row["status"], row["since"])
        for user in chance.sample(range(PERSONS // 2), 60):
            mine = {a: v for (a, ns, id), v in last.items() if id == f"u{user}"}
            if mine:
                eventually(lambda: self.assertEqual(self.profile(f"id:u{user}"), mine), 20)
        metrics = self.run_process.metrics()
        self.assertEqual(sum(v for k, v in metrics.items() if re.match(r"rollcall_ingest_events_total", k)), EVENTS)


if __name__ == "__main__":
    unittest.main()
