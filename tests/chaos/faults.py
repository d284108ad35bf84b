"""The faults. Each is a function fault(field, member, random) that does it, ends it and gives a line of text; FAULTS says what each one
takes for itself meanwhile, so that any number of different ones overlap: a broker that is down does not stop processes from being killed."""

import shutil
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass

from support.recompute import now_ms

from clock import LOOKS_AGAIN_S
from field import SESSION_S
from load import GRACE_MS, LONGEST_MS, PARTITIONS

# Steps forward up to this are no more than grace is for: none of their effects is excused. SMALL_STEP_S and `IN_TIME_MS` share grace.
SMALL_STEP_S = 1.5
IN_TIME_MS = GRACE_MS - int(SMALL_STEP_S * 1000) - 500
DISK_MIB = 64


# --- processes


def kill(field, member, random):
    again = random.random() < 0.3  # once more, most likely before it is ready
    down, soon = random.choice((0, 0, random.uniform(0, 4))), random.uniform(0, 1)
    member.kill()
    time.sleep(down)
    member.start()
    if again:
        time.sleep(soon)
        member.kill()
        member.start()
    return f"{member.name}, back after {down:.1f} s{', twice' if again else ''}"


def _stop_for(member, seconds):
    with member.lock:
        if member.running():
            member.process.pause()
    time.sleep(seconds)
    with member.lock:
        if member.running():
            member.process.resume()
    return f"{member.name} for {seconds:.1f} s"


def stop(field, member, random):
    return _stop_for(member, random.uniform(0.3, 4))


def stop_long(field, member, random):
    return _stop_for(member, random.uniform(SESSION_S + 1, SESSION_S + 5))


def lose_disk(field, member, random):
    down, again, soon = random.uniform(0, 2), random.random() < 0.3, random.uniform(0, 3)
    member.kill()
    shutil.rmtree(member.disk / "state", ignore_errors=True)
    field.disks_lost += 1
    time.sleep(down)
    member.start()
    if again:  # most likely while it restores
        time.sleep(soon)
        member.kill()
        member.start()
    return f"{member.name}{', killed again after it had come back' if again else ''}"


def leave(field, member, random):
    away = random.uniform(0, 6)
    member.leave()
    time.sleep(away)
    member.start()
    return f"{member.name}, back after {away:.1f} s"


def join(field, _, random):
    role, stays = random.choice(("ingest", "ingest", "materialize", "sink")), random.uniform(5, 14)
    member = field.add(role)
    member.start()
    time.sleep(stays)
    member.leave()
    return f"{member.name} for {stays:.1f} s"


# --- disks


def mount_disk(member):
    """A small file system of its own for a process, where that is permitted (scripts/chaos sees to it). Whether it is one."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "rollcall-chaos", member.disk], capture_output=True)
    return done.returncode == 0


def fill_disk(field, member, random):
    """Not a byte is left for some seconds, and what the process frees is taken as well. A store that has room set aside may not notice at
    once; one that is opened does, so half of the processes are started anew meanwhile."""
    seconds, restart = random.uniform(4, 9), random.random() < 0.5
    member.disk_full_until = float("inf")
    filler, said = member.disk / "filler", len(member.process.log_text())
    with open(filler, "wb", buffering=0) as out:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _fill(out)
            if restart:
                member.kill()
                member.start()
                restart = False
            time.sleep(0.05)
    filler.unlink()
    noticed = "No space left" in member.process.log_text()[said:]
    member.disk_full_until = time.monotonic() + 10
    field.disks_noticed += noticed
    return f"{member.name} for {seconds:.1f} s, {'noticed' if noticed else 'not noticed'}"


def _fill(out):
    size = 1 << 20
    while size:
        try:
            out.write(bytes(size))
        except OSError:
            size //= 2


# --- clocks


def _step(field, member, seconds, lasts):
    """A clock that is wrong for a while. A forward step that grace does not cover lets an ingest decide before events are there that it
    could not know of: the persons of its partitions are noted, to be left out of the check for false changes (and only of that)."""
    def note():
        # What was given away is still listed for a moment; while nothing is told it might be anything.
        own = member.partitions()
        noted["partitions"] |= set(range(PARTITIONS)) if own is None else own

    noted = None
    if member.role == "ingest" and seconds > SMALL_STEP_S:
        noted = {"partitions": set(), "from": now_ms() - LONGEST_MS - GRACE_MS, "until": 1 << 62}
        field.stepped.append(noted)
    end = time.monotonic() + lasts + LOOKS_AGAIN_S
    member.clock.step(seconds)
    while True:
        if noted:
            note()
        if time.monotonic() >= end:
            break
        time.sleep(0.3)
    member.clock.step(0)
    time.sleep(LOOKS_AGAIN_S + 0.3)
    if noted:
        note()
        noted["until"] = now_ms() + int(seconds * 1000) + GRACE_MS
    return f"{member.name} by {seconds:+.1f} s for {lasts:.1f} s"


def step_a_little(field, member, random):
    return _step(field, member, random.uniform(0.2, SMALL_STEP_S), random.uniform(2, 6))


def step_forward(field, member, random):
    return _step(field, member, random.uniform(2, 8), random.uniform(1, 3))


def step_back(field, member, random):
    return _step(field, member, -random.uniform(1, 8), random.uniform(2, 6))


# --- servers


def _broker_away(field, end, begin, seconds):
    away = [time.monotonic(), None]
    field.broker_away.append(away)
    end()
    time.sleep(seconds)
    begin()
    told = f"for {time.monotonic() - away[0]:.1f} s"
    away[1] = time.monotonic() + 10  # clients find it again within that
    time.sleep(3)  # before the next such fault there is some load
    return told


def restart_broker(field, _, random):
    return _broker_away(field, field.kafka.stop, field.kafka.start, random.uniform(0, 4))


def kill_broker(field, _, random):
    return _broker_away(field, field.kafka.kill, field.kafka.start, random.uniform(0, 4))


def stop_broker(field, _, random):
    return _broker_away(field, field.kafka.pause, field.kafka.resume, random.uniform(0.5, SESSION_S + 3))


def restart_redis(field, _, random):
    hard, seconds = random.random() < 0.5, random.uniform(0, 5)
    (field.redis.kill if hard else field.redis.stop)()
    time.sleep(seconds)
    field.redis.start()
    return f"{'kill -9' if hard else 'SIGTERM'}, away for {seconds:.1f} s"


def stop_redis(field, _, random):
    seconds = random.uniform(0.3, 6)
    field.redis.pause()
    time.sleep(seconds)
    field.redis.resume()
    return f"for {seconds:.1f} s"


def wipe_redis(field, _, random):
    field.redis_lives += 1
    field.redis.client("FLUSHALL")
    field.redis_lives += 1
    return "FLUSHALL"


@dataclass(frozen=True)
class Kind:
    name: str
    do: object
    takes: str  # roles: one process of these; "kafka", "redis", or "" for nothing


ANY, STATEFUL = "ingest materialize sink", "ingest materialize"

FAULTS = [
    Kind("kill -9 of an ingest", kill, "ingest"),
    Kind("kill -9 of a materialize", kill, "materialize"),
    Kind("kill -9 of a sink", kill, "sink"),
    Kind("process stopped for a while (SIGSTOP)", stop, ANY),
    Kind("process stopped for longer than its session", stop_long, ANY),
    Kind("process ends in order (SIGTERM) and comes back", leave, ANY),
    Kind("another process joins and leaves", join, ""),
    Kind("disk lost", lose_disk, STATEFUL),
    Kind("disk full", fill_disk, STATEFUL),
    Kind("clock ahead by less than grace", step_a_little, ANY),
    Kind("clock ahead by seconds", step_forward, ANY),
    Kind("clock behind by seconds", step_back, ANY),
    Kind("broker restarted (SIGTERM)", restart_broker, "kafka"),
    Kind("broker killed (kill -9)", kill_broker, "kafka"),
    Kind("broker stopped for a while (SIGSTOP)", stop_broker, "kafka"),
    Kind("Redis restarted", restart_redis, "redis"),
    Kind("Redis stopped for a while (SIGSTOP)", stop_redis, "redis"),
    Kind("Redis wiped (FLUSHALL)", wipe_redis, "redis"),
]


class Storm:
    """Faults of chance, several at a time: every kind once in an order of chance, then all over again. The seed decides kinds, order,
    targets and durations; only what has to wait for another fault to end depends on the machine."""

    def __init__(self, field, random, kinds):
        self.field, self.random, self.kinds = field, random, kinds
        self.counts = Counter()
        self.began = time.monotonic()
        self._taken, self._lock, self._threads = set(), threading.Lock(), []
        self._lap = []

    def rage(self, seconds, pause_s, quiet_s=0.0):
        """Begins a fault every `pause_s` seconds on average; after each lap none begins for `quiet_s`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self._lap:
                self._lap = self.random.sample(self.kinds, len(self.kinds))
                if self.counts:
                    time.sleep(max(0.0, min(quiet_s, end - time.monotonic())))
            if not self._begin():
                time.sleep(0.1)
                continue
            time.sleep(max(0.0, min(self.random.uniform(0.2, 2 * pause_s - 0.2), end - time.monotonic())))
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive(), f"the fault {thread.name!r} does not end"

    def _begin(self):
        """The first of the lap whose target is free."""
        for kind in self._lap:
            targets = [kind.takes]
            if kind.takes not in ("", "kafka", "redis"):
                targets = [m for m in self.field.members if m.wanted and m.role in kind.takes.split() and "extra" not in m.name]
            with self._lock:
                free = [t for t in targets if t == "" or t not in self._taken]
                if not free:
                    continue
                target = self.random.choice(free)
                self._taken.add(target)
            self._lap.remove(kind)
            own = type(self.random)(self.random.getrandbits(64))
            thread = threading.Thread(target=self._run, name=kind.name, args=(kind, target, own), daemon=True)
            self._threads.append(thread)
            thread.start()
            return True
        return False

    def _run(self, kind, target, random):
        at = time.monotonic() - self.began
        try:
            told = kind.do(self.field, target, random)
            self.counts[kind.name] += 1
            print(f"{at:7.1f} s  {kind.name}: {told}", flush=True)
        except Exception as error:
            self.field.finding(f"{kind.name} at {at:.1f} s: {error!r}")
        finally:
            with self._lock:
                self._taken.discard(target)
