"""Definitions under a running pipeline: it takes up what is new, edited or deleted without a restart; status, members, profile and tail
tell of it. The same commands without consumers are in test_definitions.py and test_cli.py; what apply refuses, in
test_bad_input.py."""

import json
import time
import unittest

from support import Kafka, Redis, eventually, latest_by_key, produce, read_all, wait_until
from support.basics import Child
from support.program import BINARY, _settings, environment
from support.recompute import Changes, now_ms, snapshot
from support.site import Pipeline, audience, dataset, event, of_type, segment


class LiveTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.redis = Redis().start()
        cls.addClassCleanup(cls.redis.close)

    def setUp(self):
        self.prefix = "d-" + self.id().rpartition(".test_")[2].replace("_", "-")
        self.site = Pipeline(self.kafka, self.redis, settings={"topics.prefix": self.prefix, "group.prefix": self.prefix})
        self.addCleanup(self.site.close)
        self.topic = f"{self.prefix}.web"
        self.web = dataset(topic=self.topic)

    def store(self):
        """{(audience, person id): status}"""
        return {(a, person): v["status"] for (a, (_, person)), v in snapshot(self.redis, self.prefix)[0].items()}

    def changes(self):
        return Changes(self.kafka, f"{self.prefix}.memberships")

    def expect(self, wanted, timeout=20):
        eventually(lambda: self.assertEqual(self.store(), wanted), timeout)

    def taken_up(self, kind, id, version, timeout=20):
        """Waits until `status` says that this version is in force, and gives its line."""
        role = {"segment": "ingest", "audience": "materialize"}[kind]

        def look():
            rows = self.site.run("status", "--json").rows
            return next((r for r in rows if (r["type"], r.get("id")) == (kind, id) and r["version"] == version and "not taken" not in r["state"]
                         and "no " + role not in r["state"]), None)  # fmt: skip

        return wait_until(look, timeout, lambda: f"{kind}/{id} version {version}:\n{self.site.run('status').out}", interval=0.2)

    def send(self, *events):
        produce(self.kafka, self.topic, [event(*e[:1], now_ms(), *e[1:]) for e in events])

    def test_a_running_pipeline_takes_up_news(self):
        self.site.start_all()  # nothing is applied yet
        self.assertEqual(self.site.run("get").out.strip(), "nothing is applied; `rollcall apply -f PATH` does it")
        result = self.site.define(self.web, segment("viewed", of_type("view", window="1h")), audience("viewed"))
        self.assertEqual([(r["kind"], r["id"], r["result"], r["version"], r["dryRun"]) for r in result.rows],
                         [("dataset", "web", "created", 1, False), ("segment", "viewed", "created", 1, False), ("audience", "viewed", "created", 1, False)])  # fmt: skip
        self.assertIn(result.rows[1]["state"], ("bounded", "per window", "all history"))
        self.assertTrue(result.rows[1]["reason"])
        self.taken_up("segment", "viewed", 1)
        self.send(("a",), ("b",), ("c", "buy"))
        self.expect({("viewed", "a"): "realized", ("viewed", "b"): "realized"})

        # A new segment and a new audience beside the old ones; its history counts.
        self.site.define(segment("bought", of_type("buy", window="1h")), audience("bought"), audience("both", {"and": [{"segment": "viewed"}, {"segment": "bought"}]}))
        self.taken_up("segment", "bought", 1)
        self.taken_up("audience", "both", 1)
        bought = {("viewed", "a"): "realized", ("viewed", "b"): "realized", ("bought", "c"): "realized"}
        self.expect(bought)
        self.send(("b", "buy"))
        bought |= {("bought", "b"): "realized", ("both", "b"): "realized"}
        self.expect(bought)

        # An edit of an audience: the difference is told, with the cause; three instead of one when somebody says so.
        self.site.define(audience("both", {"or": [{"segment": "viewed"}, {"segment": "bought"}]}))
        held = wait_until(lambda: next((r for r in self.site.run("status", "--json").rows if r.get("id") == "both" and r["state"] == "held"), None), 30, "held")
        self.assertEqual((held["held"], held["servingVersion"]), ({"members": 1, "wouldHave": 3}, 1))
        self.site.run("approve", "audience", "both")
        bought |= {("both", "a"): "realized", ("both", "c"): "realized"}
        self.expect(bought)
        (edited,) = [c for c in self.changes() if c.what[:2] == ("both", ("id", "a"))]
        self.assertEqual((edited.cause, edited.status), ("definition", "realized"))

        # An edit of a segment: when its history is read, those go who do not satisfy it any more; but not all of them, unless somebody says so.
        self.site.define(segment("viewed", of_type("look", window="2h")))
        held = wait_until(lambda: next((r for r in self.site.run("status", "--json").rows if r.get("id") == "viewed" and r["state"] == "held"), None), 30, "held")
        self.assertEqual((held["held"], held["members"], held["servingVersion"]), ({"members": 2, "wouldHave": 0}, 2, 1))
        self.assertIn("approve segment viewed", self.site.run("status").out)
        self.expect(bought)
        self.site.run("approve", "segment", "viewed")
        self.expect(bought | {("viewed", "a"): "exited", ("viewed", "b"): "exited", ("both", "a"): "exited"})
        self.assertEqual({c.cause for c in self.changes() if c.target == "viewed" and c.status == "exited"}, {"definition"})
        eventually(lambda: self.assertEqual(self.taken_up("segment", "viewed", 2)["state"], "live"), 20)
        self.send(("c", "look"))
        eventually(lambda: self.assertEqual(self.store().get(("viewed", "c")), "realized"), 20)

        # A deletion: refused while referred to, then the members are exited, and nothing else is touched.
        refused = self.site.run("delete", "segment", "bought", code=65)
        self.assertIn("audience/bought", refused.err)
        self.assertIn("audience/both", refused.err)
        deleted = self.site.run("delete", "audience", "both", "--json").json
        self.assertEqual((deleted["kind"], deleted["id"], deleted["result"]), ("audience", "both", "deleted"))
        eventually(lambda: self.assertNotIn("realized", [s for (a, _), s in self.store().items() if a == "both"]), 20)
        self.assertEqual({c.cause for c in self.changes() if c.target == "both" and c.status == "exited" and c.person == ("id", "b")}, {"definition"})
        self.assertEqual(self.store()["bought", "b"], "realized")
        self.site.run("delete", "audience", "bought")
        self.site.run("delete", "segment", "bought")
        self.assertEqual([r["id"] for r in self.site.run("get", "segments", "--json").rows], ["viewed"])
        self.site.run("delete", "segment", "bought", code=65)
        self.send(("d", "look"))
        eventually(lambda: self.assertEqual(self.store().get(("viewed", "d")), "realized"), 20)
        for process in self.site.all:
            self.assertNotIn("level=error", process.log_text())

    def test_what_is_asked_of_a_running_pipeline(self):
        self.site.define(self.web, segment("viewed", of_type("view", window="1h")), segment("bought", of_type("buy", window="1s")), audience("viewed"), audience("bought"))
        self.site.start_all()
        tail_out = open(self.site.folder / "tail.out", "w+")
        tail = Child([BINARY, "tail", "--json", *_settings(self.site.settings)], self.site.folder / "tail.log", env=environment(), stdout=tail_out)
        self.addCleanup(lambda: tail.running() and tail.kill())
        time.sleep(1.5)  # tail shows what comes from now on
        sent = now_ms()
        produce(self.kafka, self.topic, [event("a", sent), event("b", sent), event("b", sent, "buy"), event("c", sent, "other")])
        self.expect({("viewed", "a"): "realized", ("viewed", "b"): "realized", ("bought", "b"): "exited"})

        tailed = wait_until(lambda: len(rows := [json.loads(x) for x in open(tail_out.name)]) == 4 and rows, 10, "4 changes in tail")
        self.assertEqual({(r["audience"], r["namespace"], r["id"], r["status"], r["since"], r["cause"]) for r in tailed},
                         {("viewed", "id", "a", "realized", sent, "event"), ("viewed", "id", "b", "realized", sent, "event"),
                          ("bought", "id", "b", "realized", sent, "event"), ("bought", "id", "b", "exited", sent + 1000, "time")})  # fmt: skip
        self.assertEqual(tail.terminate(), 0)
        some = self.site.run("tail", "--from-beginning", "--audience", "bought", "--status", "exited", "--person", "id:b", "--max", "1", "--json").json
        self.assertEqual((some["since"], some["status"]), (sent + 1000, "exited"))

        self.assertEqual([(r["namespace"], r["id"], r["since"]) for r in self.site.run("members", "viewed", "--json").rows], [("id", "a", sent), ("id", "b", sent)])
        self.assertEqual(self.site.run("members", "viewed", "--count").out, "2\n")
        self.assertEqual(self.site.run("members", "bought", "--count", "--json").json, {"audience": "bought", "members": 0})
        self.assertIn("viewed", self.site.run("members", "veiwed", code=65).err)

        profile = self.site.run("profile", "id:b", "--json").json
        self.assertEqual({k: v["status"] for k, v in profile.items()}, {"segmentMembership.viewed": "realized", "segmentMembership.bought": "exited"})
        self.assertIn("viewed", self.site.run("profile", "id:b").out)
        self.site.run("profile", "id:nobody", code=65)

        def told():
            by_type = {}
            for row in self.site.run("status", "--json").rows:
                by_type.setdefault(row["type"], []).append(row)
            # What a process tells of itself is up to half a second old, which may be before the exit.
            for kind in ("audience", "segment"):
                self.assertEqual({(r["id"], r["members"]) for r in by_type[kind]}, {("viewed", 2), ("bought", 0)})
            self.assertEqual({r["lag_records"] for r in by_type["partition"]}, {0})
            return by_type

        by_type = eventually(told, 5)
        self.assertEqual(sorted(r["role"] for r in by_type["process"]), ["ingest", "materialize", "sink"])
        self.assertTrue(all(r["answers"] and r["ready"] for r in by_type["process"]), by_type["process"])
        self.assertEqual(sorted((r["role"], r["topic"], r["partition"]) for r in by_type["partition"] if r["role"] == "ingest" and r["topic"] == self.topic),
                         [("ingest", self.topic, p) for p in range(4)])  # fmt: skip
        text = self.site.run("status").out
        for word in ("CONSUMER", "SEGMENT", "AUDIENCE", "viewed", "ready"):
            self.assertIn(word, text)
        # Found by what the processes say of themselves.
        told = {k.decode(): json.loads(v) for k, v in latest_by_key(read_all(self.kafka, f"{self.prefix}.processes")).items()}
        self.assertEqual(sorted(v["role"] for v in told.values()), ["ingest", "materialize", "sink"])
        for value in told.values():
            self.assertLessEqual({"role", "host", "port", "partitions", "since"}, set(value))
        # A process that died is told as such; nothing running is exit 69.
        self.site.sink.kill()
        self.assertIn("does not answer", self.site.run("status").out)
        self.site.ingest.terminate()
        self.site.materialize.terminate()
        self.site.run("status", code=69)

    def test_exit_codes_when_kafka_is_down(self):
        self.site.define(self.web)
        self.kafka.stop()
        try:
            for args in (["get"], ["apply", "-f", self.site.folder / "defined.json"]):
                result = self.site.run(*args, code=69)
                self.assertIn(self.kafka.bootstrap, result.err)
        finally:
            self.kafka.start()
        self.assertEqual(self.site.run("get", "--json").json["id"], "web")


if __name__ == "__main__":
    unittest.main()
