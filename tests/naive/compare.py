#!/usr/bin/env python3
"""Compares `rollcall eval` with the naive evaluator on random cases.

usage: compare.py ROLLCALL [--seed N] [--count N | --seconds N] [--jobs N] [--keep DIR] [--persons N] [--restart-every N]

Each seed gives a case (see generate.py). ROLLCALL runs on its files once with --timeline and once with --at (with
--restart-every once more, its state saved and loaded after every N events), and prints what naive.py says, or the case has failed: then it is made small (segments, records and parts of the conditions are
left out for as long as the two still disagree), and kept under DIR as a folder in the form of the conformance cases,
with the results of the naive evaluator, so that it can be run again with tests/conformance/check.py. A check is one
segment of one person. The last line is `N passed, N failed`, in checks; the exit status is 1 when one failed.
"""
import argparse
import collections
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import generate
import naive

Result = collections.namedtuple("Result", "seed checks failed report")
RUN_TIMEOUT_S = 60
SMALLER_RUNS, SMALLER_S = 600, 45.0  # how long a failing case is made smaller


def expected(case):
    """What the naive evaluator says: ({"timeline": rows, "at": rows}, number of persons)."""
    # through JSON and back, because definitions are read from a file with exact numbers
    evaluator = naive.load_definitions(json.loads(json.dumps(case.definitions), parse_float=naive.Decimal))
    for dataset, lines in case.events.items():
        evaluator.accept(dataset, naive.parse_records(line.encode() for line in lines))
    timeline = evaluator.timeline(case.times["until"]) if evaluator.events else []
    at = [row for t in sorted(set(case.times["at"])) for row in evaluator.members_at(t)]
    return {"timeline": timeline, "at": at}, len(evaluator.events)


RESTART_EVERY = 0  # events between restarts of the third run; 0: there is none


def printed(rollcall, case, folder, mode):
    """The rows that ROLLCALL prints for a case folder, or the text of its failure."""
    command = [rollcall, "eval", "-f", os.path.join(folder, "defs.json")]
    for dataset in case.events:
        command += ["--events", f"{dataset}={os.path.join(folder, f'events.{dataset}.jsonl')}"]
    if mode == "timeline":
        command += ["--timeline", "--until", str(case.times["until"])]
    else:
        command += [x for t in case.times["at"] for x in ("--at", str(t))]
    if mode == "restarted":
        command += ["--restart-every", str(RESTART_EVERY)]
    try:
        p = subprocess.run(command, capture_output=True, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"no end after {RUN_TIMEOUT_S} s"
    if p.returncode:
        return f"exit {p.returncode}: {p.stderr.decode(errors='replace').strip()[-400:]}"
    try:
        return [json.loads(line) for line in p.stdout.decode().splitlines() if line.strip()]
    except ValueError as e:
        return f"stdout is no JSONL: {e}"


def differences(rollcall, case):
    """(number of persons, {mode: (wanted rows, got rows or the text of a failure)} of the modes that differ)."""
    folder = tempfile.mkdtemp(prefix="rollcall-compare-")
    try:
        generate.write(case, folder)
        wanted, persons = expected(case)
        found = {}
        if RESTART_EVERY:
            wanted["restarted"] = wanted["at"]
        for mode, rows in wanted.items():
            got = printed(rollcall, case, folder, mode)
            if got != rows:
                found[mode] = (rows, got)
        return persons, found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def kind_of(found):
    """Two cases fail alike when both differ in rows, or both end in an error."""
    return "error" if any(isinstance(got, str) for _, got in found.values()) else "rows" if found else None


def failed_checks(found):
    """The (segment, namespace, id) whose rows differ; at least one."""
    pairs = set()
    for wanted, got in found.values():
        if not isinstance(got, str):
            for one, other in ((wanted, got), (got, wanted)):
                pairs |= {(r.get("segment"), r.get("namespace"), r.get("id")) for r in one if r not in other}
    return max(1, len(pairs))


# ---- Making a failing case smaller -----------------------------------------------------------------------------------

def smaller_values(x):
    """All JSON values that are x with one thing left out: a key, an item, or a condition for one of its own parts."""
    if isinstance(x, dict):
        for head in ("and", "or"):
            if head in x:
                yield from x[head]
        if "not" in x:
            yield x["not"]
        if "some" in x:
            yield x["where"]
        if x and set(x) & {"field", "some"}:
            yield {}
        for key in x:
            yield {k: v for k, v in x.items() if k != key}
            for smaller in smaller_values(x[key]):
                yield x | {key: smaller}
    elif isinstance(x, list):
        for i, item in enumerate(x):
            yield x[:i] + x[i + 1:]
            for smaller in smaller_values(item):
                yield x[:i] + [smaller] + x[i + 1:]


def smaller_cases(case):
    """Cases with something left out of this one, the greatest cuts first."""
    definitions, events = case.definitions, case.events
    for d in definitions:
        left = [x for x in definitions if x is not d]
        yield case._replace(definitions=left, events={k: v for k, v in events.items() if d["kind"] != "dataset" or k != d["id"]})
    for dataset, lines in events.items():
        size = len(lines)
        while size >= 1:
            for start in range(0, len(lines), size):
                yield case._replace(events=events | {dataset: lines[:start] + lines[start + size:]})
            size //= 2
    if len(case.times["at"]) > 1:
        for t in case.times["at"]:
            yield case._replace(times=case.times | {"at": [t]})
    for i, d in enumerate(definitions):
        for smaller in smaller_values(d):
            yield case._replace(definitions=definitions[:i] + [smaller] + definitions[i + 1:])


def made_small(rollcall, case, kind):
    """A case that fails alike, from which nothing can be left out within the limits of time and runs."""
    runs, end = SMALLER_RUNS, time.monotonic() + SMALLER_S
    progress = True
    while progress:
        progress = False
        for candidate in smaller_cases(case):
            try:
                generate.check(candidate.definitions)
            except Exception:  # whatever a cut-up definition lacks
                continue
            if not candidate.events:  # eval asks for some
                continue
            if runs <= 0 or time.monotonic() > end:
                return case
            runs -= 1
            try:
                found = differences(rollcall, candidate)[1]
            except Exception:
                continue
            if kind_of(found) == kind:
                case, progress = candidate, True
                break
    return case


# ---- Seeds -----------------------------------------------------------------------------------------------------------

def first_difference(found):
    lines = []
    for mode, (wanted, got) in found.items():
        if isinstance(got, str):
            lines.append(f"  {mode}: {got}")
            continue
        i = next((i for i, (a, b) in enumerate(zip(wanted, got)) if a != b), min(len(wanted), len(got)))
        lines.append(f"  {mode}: line {i + 1} of {len(wanted)} (got {len(got)} lines)")
        lines += [f"    {name} {json.dumps(rows[i], ensure_ascii=False) if i < len(rows) else '(end)'}"
                  for name, rows in (("want", wanted), ("got ", got))]
    return lines


def run_seed(arguments):
    """The Result of a seed. report: what to print of a failure, empty where there is none."""
    global RESTART_EVERY
    rollcall, seed, keep, RESTART_EVERY, persons = arguments
    case = generate.case(seed, persons=persons)
    persons, found = differences(rollcall, case)
    checks = persons * sum(d["kind"] == "segment" for d in case.definitions)
    if not found:
        return Result(seed, checks, 0, "")
    small = made_small(rollcall, case, kind_of(found))
    folder = os.path.join(keep, f"seed-{seed}")
    for name, c in (("", small), ("-whole", case)):
        generate.write(c, folder + name)
        for mode, rows in expected(c)[0].items():
            with open(os.path.join(folder + name, f"{mode}.jsonl"), "w", encoding="utf-8") as f:
                f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    report = [f"FAILED seed {seed}, kept in {folder} (as it was drawn: {folder}-whole)"]
    report += first_difference(differences(rollcall, small)[1] or found)
    report += ["  " + json.dumps(d, ensure_ascii=False) for d in small.definitions if d["kind"] == "segment"]
    lines = [f"  {dataset}: {line[:300]}" for dataset, lines in small.events.items() for line in lines]
    report += lines[:12] + ([f"  … {len(lines) - 12} more"] if len(lines) > 12 else [])
    return Result(seed, checks, min(checks, failed_checks(found)) or 1, "\n".join(report))


def seeds(first, count, seconds):
    end = time.monotonic() + seconds if seconds else None
    seed = first
    while (seed < first + count) if end is None else (time.monotonic() < end):
        yield seed
        seed += 1


def results(options, keep):
    runs = ((options.rollcall, seed, keep, options.restart_every, options.persons) for seed in seeds(options.seed, options.count, options.seconds))
    if options.jobs == 1:
        yield from map(run_seed, runs)
        return
    with multiprocessing.Pool(options.jobs) as pool:
        pending = collections.deque()
        for arguments in runs:  # not imap: it would draw seeds without end before --seconds have passed
            pending.append(pool.apply_async(run_seed, (arguments,)))
            while len(pending) >= 4 * options.jobs:
                yield pending.popleft().get()
        while pending:
            yield pending.popleft().get()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rollcall", metavar="ROLLCALL", help="the program, or another with the same `eval`")
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: any)")
    parser.add_argument("--count", type=int, default=200, help="how many seeds (default: 200)")
    parser.add_argument("--seconds", type=float, help="go on for so long instead")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", metavar="DIR", help="where failing cases are kept (default: a new folder for temporary files)")
    parser.add_argument("--persons", type=int, default=None, metavar="N", help="N persons in each case instead of a few")
    parser.add_argument("--restart-every", type=int, default=0, metavar="N", help="also with state saved and loaded after every N events")
    parser.add_argument("--max-failures", type=int, default=5, help="stop after so many failing seeds (default: 5)")
    options = parser.parse_args()
    options.rollcall = os.path.abspath(options.rollcall)
    if not os.access(options.rollcall, os.X_OK):
        parser.error(f"{options.rollcall} cannot be run")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**9)
    keep = os.path.abspath(options.keep or os.path.join(tempfile.gettempdir(), f"rollcall-failed-{os.getpid()}"))
    print(f"seeds from {options.seed}", flush=True)
    start, cases, passed, failed, failures = time.monotonic(), 0, 0, 0, 0
    for result in results(options, keep):
        cases += 1
        passed += result.checks - min(result.failed, result.checks)
        failed += result.failed
        if result.report:
            failures += 1
            print(result.report, flush=True)
            if failures >= options.max_failures:
                print(f"stopped after {failures} failing seeds")
                break
    took = time.monotonic() - start
    print(f"{cases} cases in {took:.1f} s, {(passed + failed) / max(took, 1e-9):.0f} checks a second")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
