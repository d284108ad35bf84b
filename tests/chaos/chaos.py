"""chaos.py SECONDS [SEED] [KEY=VALUE...]: faults of chance from a seed, on a real Kafka and a real Redis, under load; afterwards everything must be as
recomputed. See scripts/chaos. Reading order: field.py (where), load.py (what flows), faults.py (what happens), checks.py (what must hold)."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

INSIDE = "ROLLCALL_TEST_CHAOS_INSIDE"
SETTLE_S = 60.0  # within this everything is as it should be, once everybody is ready and the recomputation is done
RATE = 100  # events a second


def into_own_mounts():
    """Small disks are mounted for the processes, in a mount namespace of our own that goes away with us, whatever happens. Needs root, or
    a kernel that lets users have namespaces; else there are no full disks, and the output says so."""
    if os.environ.get(INSIDE):
        return
    for options in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        try:
            if subprocess.run(["unshare", *options, "true"], capture_output=True).returncode == 0:
                os.environ[INSIDE] = "1"
                os.execvp("unshare", ["unshare", *options, sys.executable, *sys.argv])
        except FileNotFoundError:
            break


def main():
    settings = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    numbers = [int(word) for word in sys.argv[1:] if "=" not in word]
    seconds, seed = numbers if len(numbers) == 2 else (*numbers, random.SystemRandom().randrange(1 << 31))
    print(f"seed {seed}", flush=True)
    from checks import CHECKS, Seen
    from faults import FAULTS, Storm, fill_disk, mount_disk
    from field import Field, Watch
    from load import Load

    chance = random.Random(seed)
    field = Field(settings, prepare=mount_disk)
    with field:
        kinds = [kind for kind in FAULTS if field.small_disks or kind.do is not fill_disk]
        if len(kinds) < len(FAULTS):
            print("no full disks: mounting a file system is not permitted here", flush=True)
        load = Load(field.kafka, random.Random(chance.getrandbits(64)), RATE)
        watch = Watch(field, load)
        load.start()
        watch.start()
        storm = Storm(field, chance, kinds)
        results = {}
        try:
            time.sleep(3)
            storm.rage(seconds, pause_s=2.0 if seconds < 300 else 6.5, quiet_s=0 if seconds < 300 else 10)
            time.sleep(3)
            load.stop()
            ended = time.monotonic()
            field.wait_ready()
            ready = time.monotonic()
            print(f"the faults have ended, everybody is ready again after {ready - ended:.1f} s", flush=True)
            seen = Seen(field, load, watch)
            computed = time.monotonic()
            print(f"recomputed in {computed - ready:.1f} s; Redis {settle(seen)} {time.monotonic() - ended:.1f} s after the last event", flush=True)
            watch.stop()
            seen.read()
        except Exception as error:
            field.finding(f"{type(error).__name__}: {error}")
        else:
            for check in CHECKS:
                try:
                    results[check] = (True, check(seen))
                except AssertionError as wrong:
                    results[check] = (False, str(wrong))
        tell(storm, results, field, seed)
        failed = len(CHECKS) - sum(good for good, _ in results.values())
        if failed:
            field.keep_broker_log()
            print(f"logs: {field.keep_logs(seed)}")
    print(f"seed {seed}")
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


def settle(seen):
    """Waits until Redis is as recomputed, or the time is up (then the checks tell)."""
    end = time.monotonic() + SETTLE_S
    while seen.store_differences():
        if time.monotonic() > end:
            return "is not as recomputed"
        time.sleep(1)
    return "is as recomputed"


def tell(storm, results, field, seed):
    print(f"\n{'faults':46} times")
    for kind in storm.kinds:
        print(f"  {kind.name:44} {storm.counts[kind.name]:5}")
    print(f"  {f'{sum(n > 0 for n in storm.counts.values())} kinds':44} {sum(storm.counts.values()):5}\n")
    for check, (good, told) in results.items():
        print(f"{'ok    ' if good else 'FAILED'}  {check.__doc__}\n        {told}")
    for finding in field.findings if not results else ():
        print(f"FAILED  {finding}")


if __name__ == "__main__":
    into_own_mounts()
    sys.exit(main())
