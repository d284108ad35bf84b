"""What flows while faults happen: definitions with windows of seconds, so that persons enter and leave by time during the run, and a
generator that sends events in time order, some of them twice, and now and then a record that cannot be used.

Time order is what the promise "no false changes" is about, so the generator keeps it under faults as well: what it makes in a tick
(at most one event of a person) is acknowledged before the next tick is made. While the broker is away nothing new happens in this world.
What was under way at that moment comes late; its persons are known afterwards (`late`)."""

import heapq
import json
import threading
import time

from confluent_kafka import Producer

from support import partition_of, person_key
from support.recompute import now_ms
from support.site import audience, segment

PARTITIONS = 8
GRACE_MS = 3000
LONGEST_MS = 25_000  # the longest window or span below: how long an event can have effects by time alone
TICK_S = 0.05

PAGES = ("home", "shoes", "hats", "coats", "help")
VIEW = {"field": "type", "eq": "view"}
BUY = {"field": "type", "eq": "buy"}
CART = {"field": "type", "eq": "cart"}


def page(name):
    return {"field": "page", "eq": name}


def datasets():
    fields = {"type": {"path": "type", "type": "string"}, "page": {"path": "page", "type": "string"},
              "amount": {"path": "amount", "type": "decimal", "min": 0}}  # fmt: skip
    return [
        {"kind": "dataset", "id": id, "topic": f"{id}.events", "format": "json", "grace": f"{GRACE_MS}ms", "session_timeout": "4s",
         "person": {"namespace": "id", "id": {"path": "user"}}, "timestamp": {"path": "ts"}, "event_id": {"path": "id"}, "fields": fields}
        for id in ("web", "shop")
    ]  # fmt: skip


def segments():
    both = ["web", "shop"]
    return [
        segment("viewers", {"event": VIEW, "count": {"ge": 3}}, window="12s"),
        segment("quiet", {"not": {"event": {}, "window": "6s"}}),
        segment("wide", {"distinct": "page", "is": {"ge": 3}}, window="15s"),
        segment("again", {"event": VIEW, "same": "page", "count": {"ge": 2}}, window="10s"),
        segment("path", {"sequence": [{"event": page("home")}, {"event": page("shoes"), "within": "8s"}], "span": "8s"}, window="20s"),
        segment("at-help", {"latest": "page", "is": {"eq": "help"}}, window="20s"),
        segment("sessions", {"session": {"event": {}, "count": {"ge": 3}}, "closed": True}, window="25s"),
        segment("earlier", {"event": VIEW}, window={"last": "14s", "except_last": "4s"}),
        segment("buyers", {"event": BUY}, dataset="shop", window="15s"),
        segment("spenders", {"sum": "amount", "where": BUY, "is": {"ge": 100}}, dataset="shop", window="20s"),
        segment("lifetime", {"sum": "amount", "is": {"ge": 150}}, dataset="shop"),
        segment("left-cart", {"sequence": [{"event": CART}, {"none": BUY, "within": "5s"}]}, dataset="shop", window="25s"),
        segment("view-then-buy", {"sequence": [{"event": VIEW}, {"event": BUY, "within": "6s"}]}, dataset=both, window="20s"),
        segment("busy", {"event": {}, "count": {"ge": 6}}, dataset=both, window="10s"),
        segment("keen", {"and": [{"segment": "busy"}, {"not": {"segment": "view-then-buy"}}]}, dataset=both),
    ]


def audiences():
    def of(*ids):
        return [{"segment": id} for id in ids]

    return [
        audience("viewers"),
        audience("engaged", {"or": of("viewers", "wide", "sessions")}),
        audience("looking-around", {"and": [*of("wide"), {"not": {"segment": "path"}}]}),
        audience("sleeping", {"and": [*of("quiet"), {"not": {"segment": "at-help"}}]}),
        audience("never-twice", {"not": {"or": of("again", "earlier")}}),
        audience("left-cart"),
        audience("dear", {"or": of("spenders", "lifetime")}),
        audience("carts-to-save", {"and": [*of("left-cart"), {"not": {"segment": "buyers"}}]}),
        audience("keen", {"and": of("keen", "busy")}),
        audience("win-back", {"and": [*of("quiet", "left-cart"), {"not": {"segment": "view-then-buy"}}]}),
    ]


def on_one_clock(definitions):
    """The audiences whose segments all use the same datasets. The others hear of their segments when each one's clock allows, so that they
    may pass through a state that never was (docs/modules/materialize.md, Limits); only what they come to counts."""
    own = {d["id"]: str(d["dataset"]) for d in definitions if d["kind"] == "segment"}

    def named(x):
        return {x["segment"]} if "segment" in x else set().union(*(named(y) for v in x.values() for y in (v if isinstance(v, list) else [v])))

    return {d["id"] for d in definitions if d["kind"] == "audience" and len({own[s] for s in named(d["where"])}) == 1}


class _Person:
    def __init__(self, number, random):
        self.id, self.random, self.sent = f"p{number}", random, 0
        self.left = random.randint(4, 40)
        self.pace = random.choice((0.3, 0.6, 1.5))
        self.places = random.sample(PAGES, random.choice((2, 3, 5)))
        self.key = person_key("id", self.id)

    def pause(self):
        return self.random.uniform(4, 16) if self.random.random() < 0.08 else TICK_S + self.random.expovariate(1 / self.pace)

    def event(self, ts):
        """(topic, value)"""
        self.sent += 1
        self.left -= 1
        value = {"user": self.id, "ts": ts, "id": f"{self.id}-{self.sent}"}
        if self.random.random() < 0.7:
            return "web.events", {**value, "type": "view", "page": self.random.choice(self.places)}
        if self.random.random() < 0.6:
            return "shop.events", {**value, "type": "cart"}
        return "shop.events", {**value, "type": "buy", "amount": self.random.randint(100, 9000) / 100}


class Load(threading.Thread):
    """`rate` events a second until stop(). `failed` says what went wrong with the load itself; nothing should."""

    def __init__(self, kafka, random, rate):
        super().__init__(name="load", daemon=True)
        self.random, self.rate = random, rate
        self.events = self.duplicates = 0
        self.planted = set()  # (topic, partition, offset) of records that cannot be used
        self.lateness = {}  # person id: ms, the most that an acknowledgement came after the event's timestamp
        self.greatest_pause_s = 0.0
        self.recent = []  # ids of the persons that are about
        self.failed = None
        self._ending = threading.Event()
        self._sent = []  # (topic, key, value) to send again some time
        self._producer = Producer(
            {"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random", "linger.ms": 0, "acks": "all", "log_level": 0,
             "enable.idempotence": True, "message.timeout.ms": 0, "reconnect.backoff.max.ms": 500, "message.max.bytes": 1 << 20}
        )  # fmt: skip

    def stop(self):
        self._ending.set()
        self.join(120)
        assert not self.is_alive(), "the load waits for the broker still"

    def late(self, more_than_ms):
        """Persons with an event that may have come to its topic so long after its timestamp."""
        return {("id", person) for person, ms in self.lateness.items() if ms > more_than_ms}

    def run(self):
        try:
            self._run()
        except Exception as error:  # told by the checks
            self.failed = repr(error)

    def _run(self):
        people, number, queue = {}, 0, []
        due = time.monotonic()
        budget = 0.0
        while not self._ending.is_set():
            due = max(due + TICK_S, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
            budget = min(budget + self.rate * TICK_S, self.rate)
            now, seen = time.monotonic(), set()
            while budget >= 1:
                if queue and queue[0][0] <= now:
                    id = heapq.heappop(queue)[1]
                else:  # too few are about
                    person = _Person(number, self.random)
                    number, id = number + 1, person.id
                    people[id] = person
                if id in seen:
                    heapq.heappush(queue, (now + TICK_S, id))
                    continue
                seen.add(id)
                person, ts = people[id], now_ms()
                topic, value = person.event(ts)
                self._send(topic, person.key, value)
                budget -= 1
                if person.left:
                    heapq.heappush(queue, (now + person.pause(), id))
                else:
                    del people[id]
            self._extras()
            at = time.monotonic()
            while self._producer.flush(0.5):
                pass
            pause = time.monotonic() - at
            self.greatest_pause_s = max(self.greatest_pause_s, pause)
            if pause > 0.5:  # nobody did anything meanwhile
                queue = [(t + pause, id) for t, id in queue]
                due += pause
            self.recent = list(people)[-200:]

    def _send(self, topic, key, value):
        def told(error, message):
            if error:
                self.failed = str(error)
            else:
                self.lateness[value["user"]] = max(self.lateness.get(value["user"], 0), now_ms() - value["ts"])

        self._producer.produce(topic, key=key, value=json.dumps(value), timestamp=value["ts"], callback=told)
        self.events += 1
        self._sent.append((topic, key, json.dumps(value), value["ts"]))

    def _extras(self):
        """An event for the second time, soon after or many seconds later; a record that cannot be used."""
        self._sent = self._sent[-20 * int(self.rate):]
        if self._sent and self.random.random() < 0.3:
            for _ in range(self.random.randint(1, 4)):
                topic, key, value, ts = self.random.choice(self._sent)
                self._producer.produce(topic, key=key, value=value, timestamp=ts)
                self.duplicates += 1
        if self.random.random() < 0.01:
            self._producer.produce(
                self.random.choice(("web.events", "shop.events")), key=b"id:nobody", callback=self._planted, timestamp=now_ms(),
                value=self.random.choice((b"{", b'{"user": "nobody"}', b'{"user": "nobody", "ts": "never", "id": "x"}')),
            )  # fmt: skip

    def _planted(self, error, message):
        if error:
            self.failed = str(error)
        else:
            self.planted.add((message.topic(), message.partition(), message.offset()))


def partition_of_person(person):
    return partition_of(person_key(*person), PARTITIONS)
