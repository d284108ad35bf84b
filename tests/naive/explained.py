#!/usr/bin/env python3
"""Holds `rollcall eval --explain` against the naive evaluator on random cases.

usage: explained.py ROLLCALL [--seed N] [--count N | --seconds N] [--restart-every N]

For each (segment, person) of a random case and an instant at or after its last event:
- `member` is what naive.py says;
- the events that the explanation names, taken by themselves, give naive.py the same truth;
- `next` is the next line of naive.py's timeline for that segment and person, or there is none within two years.
With --restart-every each is asked for once more, of state saved and loaded after every N events: it says the same of the segment and of
each condition. It may name fewer events, since what is saved is pruned first, but these are enough too.
A check is one (segment, person). The last line is `N passed, N failed`; the exit status is 1 when one failed.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import generate
import naive

HORIZON_MS = 2 * 366 * 86400 * 1000


def evidence(node):
    """The identities (dataset, timestamp, event id) of all events that an explanation names."""
    if isinstance(node, dict):
        for event in node.get("events", []):
            yield event["dataset"], event["timestamp"], event["id"]
        for key, value in node.items():
            if key != "events":
                yield from evidence(value)
    elif isinstance(node, list):
        for item in node:
            yield from evidence(item)


def key_of(person):
    namespace, name = person
    return namespace.replace("\\", "\\\\").replace(":", "\\:") + ":" + name


def truths(node):
    """The truth of every condition, by its path."""
    if isinstance(node, dict):
        own = [(node.get("path"), node["true"])] if "true" in node else []
        return own + [t for value in node.values() for t in truths(value)]
    return [t for item in node for t in truths(item)] if isinstance(node, list) else []


def explain(rollcall, case, folder, segment, person, at, restart_every=0):
    command = [rollcall, "eval", "-f", os.path.join(folder, "defs.json"), "--explain", segment, key_of(person), "--at", str(at)]
    for dataset in case.events:
        command += ["--events", f"{dataset}={os.path.join(folder, f'events.{dataset}.jsonl')}"]
    if restart_every:
        command += ["--restart-every", str(restart_every)]
    p = subprocess.run(command, capture_output=True, timeout=60)
    if p.returncode:
        raise ValueError(f"exit {p.returncode}: {p.stderr.decode(errors='replace').strip()[-300:]}")
    return json.loads(p.stdout)


def wrong_evidence(definitions, evaluator, segment, person, at, explanation):
    """What is wrong with the events that an explanation names, or None."""
    member, named = explanation["member"], set(evidence(explanation["condition"]))
    alone = naive.load_definitions(definitions)
    kept = {i: e for i, e in evaluator.events.get(person, {}).items() if (e.dataset, e.ts, e.event_id) in named}
    if len(kept) != len(named):
        return f"it names {len(named)} events, of which {len(kept)} are the person's"
    alone.events = {person: kept} if kept else {}
    if alone.member(segment, person, at) != member:
        return f"the {len(kept)} events that it names give {not member} by themselves"
    return None


def wrong(definitions, evaluator, segment, person, at, explanation):
    """What is wrong with an explanation, or None. Events remember what parts of `definitions` say of them: all evaluators share these."""
    member = evaluator.member(segment, person, at)
    if explanation["member"] != member:
        return f"member: want {member}, got {explanation['member']}"
    fault = wrong_evidence(definitions, evaluator, segment, person, at, explanation)
    if fault:
        return fault
    until = explanation["next"] if explanation["next"] is not None else at + HORIZON_MS
    only = naive.load_definitions(definitions)
    only.events = {person: evaluator.events[person]}
    later = [row["since"] for row in only.timeline(until, segments=[segment]) if row["since"] > at]
    want = later[0] if later else None
    return None if want == explanation["next"] else f"next: want {want}, got {explanation['next']}"


def wrong_restarted(definitions, evaluator, segment, person, at, explanation, restarted):
    """What is wrong with an explanation of state that was saved and loaded, beside one of the same state that was not; or None."""
    for key in ("member", "next"):
        if restarted[key] != explanation[key]:
            return f"{key}: {explanation[key]}, restarted {restarted[key]}"
    if truths(restarted["condition"]) != truths(explanation["condition"]):
        return f"conditions: {truths(explanation['condition'])}, restarted {truths(restarted['condition'])}"
    fault = wrong_evidence(definitions, evaluator, segment, person, at, restarted)
    return f"restarted: {fault}" if fault else None


def check_case(rollcall, seed, draw, restart_every):
    """(passed, failed) over the case's segments and persons."""
    case = generate.case(seed)
    definitions = json.loads(json.dumps(case.definitions), parse_float=naive.Decimal)
    evaluator = naive.load_definitions(definitions)
    for dataset, lines in case.events.items():
        evaluator.accept(dataset, naive.parse_records(line.encode() for line in lines))
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="rollcall-explained-") as folder:
        generate.write(case, folder)
        for segment in evaluator.segments:
            for person in sorted(evaluator.events):
                at = max(draw.choice(case.times["at"]), evaluator.greatest_timestamp())
                try:
                    explanation = explain(rollcall, case, folder, segment, person, at)
                    fault = wrong(definitions, evaluator, segment, person, at, explanation)
                    if restart_every and not fault:
                        restarted = explain(rollcall, case, folder, segment, person, at, restart_every)
                        fault = wrong_restarted(definitions, evaluator, segment, person, at, explanation, restarted)
                except (ValueError, KeyError) as error:
                    fault = str(error)
                passed += fault is None
                failed += fault is not None
                if fault:
                    print(f"FAILED seed {seed}: --explain {segment} --at {at} {key_of(person)}: {fault}", flush=True)
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rollcall", metavar="ROLLCALL")
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: any)")
    parser.add_argument("--count", type=int, default=50, help="how many seeds (default: 50)")
    parser.add_argument("--seconds", type=float, help="go on for so long instead")
    parser.add_argument("--restart-every", type=int, default=0, metavar="N", help="ask once more, state saved and loaded after every N events")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**9)
    print(f"seeds from {options.seed}", flush=True)
    end = time.monotonic() + options.seconds if options.seconds else None
    seed, passed, failed = options.seed, 0, 0
    while (seed < options.seed + options.count if end is None else time.monotonic() < end) and failed < 20:
        more, less = check_case(os.path.abspath(options.rollcall), seed, random.Random(seed), options.restart_every)
        passed, failed, seed = passed + more, failed + less, seed + 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
