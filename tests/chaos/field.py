"""Where chaos takes place: a broker, a Redis, an installation of several processes of each role, and the supervisor that any installation
has: what ends is started again. What ends without a fault to blame it on is a finding."""

import json
import shutil
import threading
import time

from support import ROOT, Installation, Kafka, Redis, create_topic
from support.basics import make_temp, wait_until
from support.program import Rollcall
from support.recompute import now_ms

from clock import Clock
from load import PARTITIONS, audiences, datasets, segments

NUMBERS = {"ingest": 3, "materialize": 2, "sink": 2}
SESSION_S = 6  # the least that a broker allows as it comes; the default is 10 s
READY_S = 60.0
UNAVAILABLE = (69, 75)  # sysexits: what a start says when there is no broker to start with


class Member:
    """One process. Faults call kill(), start() and the like; between kill() or leave() and start() the supervisor lets it be."""

    def __init__(self, field, role, name, leaves):
        self.field, self.role, self.name = field, role, name
        self.folder = field.folder / name
        self.folder.mkdir()
        self.disk = self.folder / "disk"  # a full disk mounts a small one here
        self.disk.mkdir()
        self.clock = Clock(self.folder / "clock")
        self.process = Rollcall(role, name=name, folder=self.folder, ready=False, env=self.clock.env, settings={
            **field.site.settings, "state.dir": self.disk / "state", "kafka.session.timeout.ms": SESSION_S * 1000,
            "kafka.heartbeat.interval.ms": 500, "checkpoint.interval": "500ms", "state.memory_bytes": "16MiB", "group.leave": leaves, **field.settings})  # fmt: skip
        self.wanted = False  # whether the supervisor is to keep it running
        self.lock = threading.RLock()
        self.disk_full_until = 0.0  # monotonic seconds; what ends by then, saying that its disk is full, is excused
        self.started = 0.0
        self.was_ready = False

    def start(self):
        with self.lock:
            assert self.process.child is None
            self.wanted, self.was_ready, self.started = True, False, time.monotonic()
            self.process.start()

    def kill(self):
        with self.lock:
            self.wanted = False
            self._over(self.process.kill)

    def leave(self):
        """SIGTERM, as whoever scales down does it. It must end in order; how long that takes while its servers are away is bounded."""
        with self.lock:
            self.wanted = False
            try:
                self._over(lambda: self.process.terminate(code=None, timeout=60))
            except AssertionError as late:
                self.field.finding(f"{self.name}: {late}")
                self.process.child = None

    def _over(self, end):
        if self.process.child:
            pid = self.process.pid
            end()
            Clock.forget(pid)

    def running(self):
        return self.process.running()

    def is_ready(self):
        return self.running() and self.process.get("/readyz", timeout=2.0)[0] == 200

    def partitions(self):
        """The numbers of the partitions that it works on; None when it does not say."""
        if not self.running():
            return set()
        status, body = self.process.get("/status", timeout=2.0)
        if status != 200:
            return None
        return {p["partition"] for p in _partitions(json.loads(body)) if p.get("state") in ("live", "restoring", "catching up", "waiting", "paused")}

    def check(self):
        """The supervisor's look: starts it again if it ended, and tells what is not excused."""
        if not self.lock.acquire(blocking=False):
            return  # a fault is at work on it
        try:
            if not self.wanted:
                return
            if self.running():
                self.was_ready = self.was_ready or (time.monotonic() - self.started < READY_S * 3 and self.is_ready())
                return
            code, pid = self.process.child.process.returncode, self.process.pid
            self.process.child.wait(1)
            self.process.child = None
            Clock.forget(pid)
            said = self.process.log_text().splitlines()
            began = max((i for i, line in enumerate(said) if "msg=started" in line), default=0)
            said = said[began:][-12:]
            self.field.ended(self, code, said)
            time.sleep(1)
            self.start()
        finally:
            self.lock.release()


def _partitions(x):
    """Every list under "partitions" in a status, wherever it stands."""
    if isinstance(x, dict):
        for key, value in x.items():
            if key == "partitions" and isinstance(value, list):
                yield from (v for v in value if isinstance(v, dict) and "partition" in v)
            else:
                yield from _partitions(value)
    elif isinstance(x, list):
        for y in x:
            yield from _partitions(y)


class Field:
    """Everything that faults can be done to. `findings` is what went wrong before the checks have even begun."""

    def __init__(self, settings, prepare):
        """`settings` go to every process and win over the field's own. `prepare(member)` is called once for each, before its first start; whether it could do what it does for all is `small_disks`."""
        self.folder = make_temp("chaos")
        self.settings, self.prepare, self.small_disks = settings, prepare, True
        self.kafka = Kafka({"offsets.topic.num.partitions": 8})
        self.redis = Redis(durable=True)
        self.members, self.extra = [], 0
        self.findings, self.exits = [], []
        self.broker_away = []  # [from, until] in monotonic seconds; until is None while it lasts
        self.redis_lives = 0  # grows whenever Redis has lost its data
        self.stepped = []  # clock steps that grace does not cover, see faults.py
        self.disks_lost = self.disks_noticed = 0
        self._ending = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def __enter__(self):
        try:
            self.kafka.start()
            self.redis.start()
            self.site = Installation(self.kafka, self.redis)
            self.definitions = [*datasets(), *segments(), *audiences()]
            for dataset in datasets():
                create_topic(self.kafka, dataset["topic"], PARTITIONS)
            self.site.run("apply", "-f", self.site.write("definitions.json", self.definitions))
            for role, n in NUMBERS.items():
                for i in range(n):
                    self.add(role, f"{role}-{i + 1}", leaves=i % 2 == 1).start()
            self._supervisor.start()
            self.wait_ready()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self._ending.set()
        if self._supervisor.is_alive():
            self._supervisor.join(30)
        for member in self.members:
            member.kill()
        if hasattr(self, "site"):
            self.site.close()
        self.redis.close()
        self.keep_broker_log()
        self.kafka.close()

    def add(self, role, name=None, leaves=True):
        """`leaves`: whether it gives its partitions up when it is asked to end, or keeps its place for the time of a session."""
        if not name:
            self.extra += 1
            name = f"{role}-extra-{self.extra}"
        member = Member(self, role, name, leaves)
        self.small_disks &= self.prepare(member)
        self.members.append(member)
        return member

    def wait_ready(self, timeout=READY_S):
        def late():
            return [m.name for m in self.members if m.wanted and not m.is_ready()]

        wait_until(lambda: not late(), timeout, lambda: f"{', '.join(late())} to be ready", interval=0.2)

    def finding(self, text):
        self.findings.append(text)
        print(f"    FINDING {text}", flush=True)

    def ended(self, member, code, said):
        """A process ended by itself. Its disk was full and it says so, or it could not start without a broker: excused."""
        now = time.monotonic()
        excused = None
        if now < member.disk_full_until and code > 0 and any("No space left" in line for line in said):
            excused = "its disk was full"
        elif code in UNAVAILABLE and not member.was_ready and self.broker_was_away(member.started - 5, now):
            excused = "no broker to start with"
        self.exits.append((member.name, code, excused))
        text = f"{member.name} ended with {code}"
        if excused:
            print(f"            {text}: {excused}; started again", flush=True)
        else:
            self.finding(f"{text} without a fault; the end of its log:\n" + "\n".join(f"        | {line}" for line in said))

    def broker_was_away(self, since, until):
        return any(a <= until and (b is None or b >= since) for a, b in self.broker_away)

    def _supervise(self):
        while not self._ending.wait(0.2):
            for member in list(self.members):
                member.check()

    def keep_broker_log(self):
        for server in (self.kafka, self.redis):
            if server.log.exists():
                shutil.copy(server.log, self.folder / server.log.name)

    def keep_logs(self, seed):
        """What whoever looks into a failure needs: build/chaos/SEED."""
        kept = ROOT / "build" / "chaos" / str(seed)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.folder, kept, ignore=shutil.ignore_patterns("disk", "clock*"))
        return kept


class Watch(threading.Thread):
    """Looks at profiles in Redis during the run, those of persons that are about: no version may fall while Redis keeps its data."""

    def __init__(self, field, load):
        super().__init__(name="watch", daemon=True)
        self.field, self.load = field, load
        self.looks = self.values = 0
        self.fell = []  # (key, field, before, after)
        self._ending = threading.Event()

    def stop(self):
        self._ending.set()
        self.join(30)

    def run(self):
        from support.redis import Client  # the field's own client is the faults'

        client, known, life = Client(self.field.redis.port), {}, -1
        while not self._ending.wait(0.5):
            before = self.field.redis_lives
            try:
                persons = list(self.load.recent)
                found = [(id, client.hash(f"rollcall:profile:id:{id}")) for id in persons]
            except Exception:  # Redis is away, or stands still
                client.close()
                continue
            if life != before or before != self.field.redis_lives:
                known, life = {}, self.field.redis_lives if before == self.field.redis_lives else -1
                continue
            self.looks += 1
            fresh = {}
            for id, fields in found:
                for name, value in fields.items():
                    v = json.loads(value)
                    key = (id, name)
                    self.values += 1
                    old = known.get(key)
                    if old and (v["version"] < old["version"] or v["version"] == old["version"] and v != old):
                        self.fell.append((key, old, v, now_ms()))
                    fresh[key] = v
                if not fields and any(key[0] == id for key in known):
                    self.fell.append((id, "had a profile", "has none", now_ms()))
            known = fresh
