"""Why somebody is a member, and whether: asked of running processes, held against what they published and against `eval --explain` on the
same events."""

import json
import random
import unittest
import urllib.parse

from support import Installation, Kafka, produce, rollcall
from support.basics import eventually
from support.recompute import Changes, now_ms
from support.site import SLOW, audience, dataset, event, of_type, segment

HOUR = 3_600_000
PERSONS = 9
RENDERED = """\
id:ann is a member of either since 2026-01-01T00:00:02.000Z
as of        2026-01-01T00:00:10.000Z
next change  none by time alone
[x] segment either  the person exists since 2026-01-01T00:00:01.000Z
    [x] or
        [ ] not  may change at 2026-01-01T01:00:02.000Z
            [x] event  at least 2 (ge 1)  may change at 2026-01-01T01:00:02.000Z  {"event": {"field": "type", "eq": "view"}, "window": "1h"}
                2026-01-01T00:00:01.000Z  a  web
                2026-01-01T00:00:02.000Z  b  web
        [x] segment spent  the person exists since 2026-01-01T00:00:01.000Z
            [x] sum  at least 3.5 (gt 3)  {"sum": "amount", "is": {"gt": 3}}
                2026-01-01T00:00:01.000Z  a  web
                2026-01-01T00:00:02.000Z  b  web
"""


def definitions():
    bought = of_type("buy", window="24h")
    segments = [
        segment("buyers", bought),
        segment("often", {"event": {"field": "type", "eq": "view"}, "count": {"ge": 3}, "window": "48h"}),
        segment("spent", {"sum": "amount", "is": {"ge": 20}, "window": "36h"}),
        segment("steady", {"avg": "amount", "is": {"gt": 5, "le": 9}}),
        segment("curious", {"distinct": "page", "is": {"ge": 3}}),
        segment("last-bought", {"latest": "type", "is": {"eq": "buy"}}),
        segment("abandoned", {"sequence": [{"event": {"field": "type", "eq": "cart"}},
                                           {"none": {"field": "type", "eq": "buy"}, "within": "2h"}]}),
        segment("long-visit", {"session": {"event": {}, "count": {"ge": 2}}, "count": {"ge": 1}}),
        segment("quiet", {"not": {"event": {}, "window": "12h"}}),
        segment("mixed", {"or": [{"and": [bought, {"not": {"segment": "often"}}]}, {"segment": "curious"}]}),
    ]  # fmt: skip
    return [
        dataset(event_id={"path": "id"}, session_timeout="90m"),
        *segments,
        audience("win-back", {"and": [{"segment": "quiet"}, {"not": {"segment": "buyers"}}]}),
        audience("buyers"),
        audience("stopped", {"segment": "curious"}, paused=True),
        audience("rarely", {"segment": "curious"}, refresh="every 4h"),
    ]


def events(seed):
    """Rows of the last two days, none so near to a window's edge that it crosses it while the test runs."""
    rng, now, rows = random.Random(seed), now_ms(), []
    for p in range(PERSONS):
        for n in range(rng.randrange(1, 9)):
            at = now - rng.randrange(1, 60) * HOUR - HOUR // 2 - rng.randrange(60_000)
            more = {"page": rng.choice("abcde"), "amount": rng.randrange(1, 12)} if rng.random() < 0.8 else {}
            rows.append({"user": f"p{p}", "ts": at, "id": f"p{p}-{n}", "type": rng.choice(["view", "view", "cart", "buy"]), **more})
    return rows


def bare(node):
    """An explanation without what a running process does not keep: ids of events, events of sessions, and more than it takes to be true."""
    if isinstance(node, list):
        return [bare(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "timestamp" in node:
        return node["timestamp"]
    more_than_kept = "inScope" in node or "existsSince" in node or "valueAtLeast" in node or node.get("head") == "distinct"
    return {key: bare(value) for key, value in node.items() if not (more_than_kept and key in ("events", "valueAtLeast"))}


class RenderingTest(unittest.TestCase):
    """No broker: the tree of `eval --explain`, which is `explain`'s as well."""

    def test_tree(self):
        with Installation() as site:
            defined = site.write("defined.json", [
                dataset(event_id={"path": "id"}, timestamp={"path": "ts"}),
                segment("spent", {"sum": "amount", "is": {"gt": 3}}),
                # the same condition at another place: it is quoted from where it stands in the segment that is explained
                segment("other", {"and": [{"not": {"event": {"field": "type", "eq": "view"}, "window": "1h"}}, {"segment": "spent"}]}),
                segment("either", {"or": [{"not": {"event": {"field": "type", "eq": "view"}, "window": "1h"}}, {"segment": "spent"}]}),
            ])  # fmt: skip
            start = 1767225600000
            rows = [{"user": "ann", "ts": start + 1000, "type": "view", "id": "a", "amount": 2},
                    {"user": "ann", "ts": start + 2000, "type": "view", "id": "b", "amount": 1.5}]  # fmt: skip
            path = site.write("events.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            asked = ("eval", "-f", defined, "--events", path, "--at", start + 10_000, "--explain", "either", "id:ann")
            self.assertEqual(rollcall(*asked, "--tree").out, RENDERED)
            self.assertEqual(json.loads(rollcall(*asked).out)["condition"]["conditions"][0]["path"], "where")
            nobody = rollcall(*asked[:-1], "id:nobody", "--tree").out
            self.assertIn("id:nobody is not a member of either", nobody)
            self.assertIn("the person has had no event yet", nobody)


class ExplainTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.addClassCleanup(cls.kafka.close)
        cls.site = Installation(cls.kafka)
        cls.addClassCleanup(cls.site.close)
        cls.definitions = definitions()
        cls.segments = [d["id"] for d in cls.definitions if d["kind"] == "segment"]
        cls.file = cls.site.write("defined.json", cls.definitions)
        cls.site.run("apply", "-f", cls.file)
        cls.rows = events(20260101)
        random.Random(7).shuffle(cls.rows)
        produce(cls.kafka, "web.events", [(f"id:{r['user']}".encode(), json.dumps(r).encode()) for r in cls.rows])
        cls.events = cls.site.write("events.jsonl", "".join(json.dumps(row) + "\n" for row in cls.rows))
        cls.persons = sorted({row["user"] for row in cls.rows})
        cls.ingests = [cls.site.start("ingest", name=name, ready=False) for name in ("a", "b")]
        cls.materialize = cls.site.start("materialize")
        for ingest in cls.ingests:
            ingest.wait_ready()
        eventually(cls.settled, 60 * SLOW)

    @classmethod
    def settled(cls):
        """Both hold partitions, nothing waits, and every person exists on the segments topic."""
        for process in (*cls.ingests, cls.materialize):
            lanes = cls.lanes(process)
            assert lanes and all(lane["state"] == "live" and not lane["lag_records"] for lane in lanes), lanes
        known = {c.person[1] for c in Changes(cls.kafka, "rollcall.segments") if c.target == "_exists.web"}
        assert known == set(cls.persons), known

    @staticmethod
    def lanes(process):
        status, body = process.get("/status")
        (section,) = json.loads(body)["roles"].values() if status == 200 else ({},)
        return section.get("partitions", [])

    def ask(self, processes, path, person):
        """(process, answer) of the one that takes the person for its own; the others have to name it."""
        asked = f"{path}?person={urllib.parse.quote(f'id:{person}')}"
        answers = [(p, *p.get(asked)) for p in processes]
        mine = [(p, json.loads(body)) for p, status, body in answers if status == 200]
        self.assertEqual(len(mine), 1, answers)
        for process, status, body in answers:
            if process is not mine[0][0]:
                owner = json.loads(body)["owner"]
                self.assertEqual((status, f"{owner['host']}:{owner['port']}"), (421, mine[0][0].http), body)
        return mine[0]

    def last(self, topic):
        seen = {}
        for change in Changes(self.kafka, topic):
            key = (change.target, change.person[1])
            if key not in seen or change.version >= seen[key].version:
                seen[key] = change
        return seen

    def explained(self, name, person, at):
        return json.loads(rollcall("eval", "-f", self.file, "--events", self.events, "--at", at, "--explain", name, f"id:{person}").out)

    def test_every_answer(self):
        """All persons and segments: with the topic, with eval, from whichever process; a person on disk alone too."""
        self.everybody()
        for ingest in self.ingests:
            ingest.terminate()
            ingest.start()
        eventually(self.settled, 60 * SLOW)
        resident = sum(ingest.metric("rollcall_ingest_persons_in_memory") for ingest in self.ingests)
        self.assertLess(resident, len(self.persons))  # the others are on disk alone, and are brought in by the question
        self.everybody()

    def everybody(self):
        told, owners, members = self.last("rollcall.segments"), set(), 0
        for person in self.persons:
            for name in self.segments:
                last = told.get((name, person))
                member = last is not None and last.status == "realized"
                process, short = self.ask(self.ingests, f"/segments/{name}", person)
                _, long = self.ask(self.ingests, f"/segments/{name}/explain", person)
                where = f"{name} {person}\n{short}\n{long}"
                self.assertEqual(short["member"], member, where)
                self.assertEqual(short["since"], last.since if member else None, where)
                self.assertTrue(short["known"] and abs(short["clock"] - now_ms()) < 60_000 * SLOW, where)
                self.assertEqual(long["told"], {"member": member, "since": last.since if member else None}, where)
                right = self.explained(name, person, long["at"])
                for key in ("member", "next", "since", "condition"):
                    self.assertEqual(bare(long.get(key)), bare(right.get(key)), f"{key}: {where}\n{right}")
                owners.add(process.name)
                members += member
        self.assertEqual(owners, {"a", "b"})
        self.assertTrue(0.1 < members / (len(self.persons) * len(self.segments)) < 0.9, members)

    def agree(self):
        """What materialize answers is what it has published, and where the condition says something else it knows why."""
        published = self.last("rollcall.memberships")
        for person in self.persons:
            for name in ("win-back", "buyers", "stopped"):
                last = published.get((name, person))
                member = last is not None and last.status == "realized"
                _, answer = self.ask([self.materialize], f"/audiences/{name}", person)
                self.assertEqual((answer["member"], answer["since"], answer["version"]),
                                 (member, last and last.since, last and last.version), answer)  # fmt: skip
                _, why = self.ask([self.materialize], f"/audiences/{name}/explain", person)
                self.assertEqual(why["holds"], why["condition"]["true"], why)
                self.assertEqual("why" in why, why["holds"] != member, why)
                self.assertIn("paused" if "why" in why else "", why.get("why", ""))
            _, why = self.ask([self.materialize], "/audiences/rarely/explain", person)
            if why["holds"] != why["member"]:  # came after the first refresh
                self.assertIn("the next refresh, at 20", why["why"])
        return published

    def test_audiences(self):
        site = self.site
        published = eventually(self.agree, 30 * SLOW)
        self.assertIn("realized", {change.status for change in published.values()})
        for person in self.persons[:3]:
            member = ("buyers", person) in published and published["buyers", person].status == "realized"
            self.assertEqual(site.run("is", "audience/buyers", f"id:{person}", code=(0, 1)).code, 0 if member else 1)
        whose = next(p for p in self.persons if ("win-back", p) in published and published["win-back", p].status == "realized")
        one = site.run("explain", "win-back", f"id:{whose}", "--json").json
        last = published["win-back", whose]
        self.assertEqual((one["lastChange"]["version"], one["lastChange"]["since"], one["lastChange"]["cause"]),
                         (last.version, last.since, last.cause))  # fmt: skip
        inner = one["condition"]["conditions"]
        self.assertEqual([inner[0]["explanation"]["segment"], inner[1]["conditions"][0]["explanation"]["segment"]], ["quiet", "buyers"])
        tree = site.run("explain", "win-back", f"id:{whose}").out
        for text in (f"id:{whose} is a member of win-back since", f"id:{whose} is a member of quiet since", "[ ] segment buyers",
                     "last change  realized since", "next change"):  # fmt: skip
            self.assertIn(text, tree)

    def test_commands(self):
        site, told = self.site, self.last("rollcall.segments")
        person = next(p for p in self.persons if told.get(("curious", p)))
        last = told["curious", person]
        one = site.run("explain", "curious", f"id:{person}", "--json").json
        self.assertEqual({key: one["lastChange"][key] for key in ("status", "since", "version", "cause", "emittedAt")},
                         {"status": last.status, "since": last.since, "version": last.version, "cause": last.cause,
                          "emittedAt": last.emitted})  # fmt: skip
        right = self.explained("curious", person, one["at"])  # the ids of events come from the topic
        ids = {event["id"] for event in right["condition"]["conditions"][0]["events"]}
        named = [event for event in one["condition"]["conditions"][0]["events"]]
        self.assertTrue(named and {event["id"] for event in named} <= ids and all(e["dataset"] == "web" for e in named), (named, ids))
        self.assertEqual(site.run("is", "curious", f"id:{person}", code=(0, 1)).out, "yes\n" if last.status == "realized" else "no\n")
        self.assertEqual(site.run("is", "curious", "id:nobody", code=1).out, "no\n")
        self.assertIn("no event yet", site.run("explain", "curious", "id:nobody").out)
        self.assertEqual(site.run("explain", "buyers", f"id:{person}", "--json").json["audience"], "buyers")  # both have the id
        self.assertEqual(site.run("explain", "segment/buyers", f"id:{person}", "--json").json["segment"], "buyers")
        site.run("explain", "nothing", f"id:{person}", code=65)
        site.run("is", "segment/nothing", f"id:{person}", code=65)
        site.run("explain", "curious", person, code=64)
        for path, status in (("/segments/nothing?person=id:x", 404), ("/segments/curious", 400), ("/segments/curious?person=x", 400),
                             ("/segments/nothing/explain?person=id:x", 404)):  # fmt: skip
            self.assertEqual(self.ingests[0].get(path)[0], status, path)
        self.assertEqual(self.materialize.get("/audiences/nothing?person=id:x")[0], 404)

    def test_while_it_catches_up(self):
        """A third installation of the same topics: asked from its first moment on, it answers or says that it cannot yet."""
        now = now_ms()
        rows = [event(f"late{n % 50}", now - 10_000 + n // 20, "view", id=f"late-{n}", page="x") for n in range(20_000)]
        produce(self.kafka, "web.events", rows)
        with Installation(self.kafka, settings={"group.prefix": "other", "topics.prefix": "other"}) as other:
            other.run("apply", "-f", self.file)
            ingest, seen, clock = other.start("ingest", ready=False), [], 0

            def answered():
                nonlocal clock
                status, body = ingest.get("/segments/often/explain?person=id:late7")
                answer = json.loads(body) if status else {}
                seen.append((status, answer.get("state")))
                if status == 200:
                    assert clock <= answer["clock"] <= now_ms() + 60_000, (clock, answer)
                    clock = answer["clock"]
                else:
                    assert status in (0, 404, 503), body  # nobody listens yet, no route yet, not yet
                assert status == 200 and answer["state"] == "live" and answer["member"], (status, body)

            eventually(answered, 60 * SLOW)
            print("explain while catching up:", {one: seen.count(one) for one in set(seen)}, flush=True)


if __name__ == "__main__":
    unittest.main()
