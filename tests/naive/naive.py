#!/usr/bin/env python3
"""A naive evaluator of Rollcall's definitions: datasets, segments and audiences.

It answers one question, M(segment, person, T), straight from the words of the specification: take the set of the
person's accepted events up to T and look at all of them again, for every segment and every instant. Nothing is kept
between two instants, so there is no incremental state that could be wrong. It shares no code with the engine that it
is compared with (see `compare.py`), and is meant to be read next to `definitions.md`, section by section.

How its parts follow the specification:

    Dataset, project()          section 2: what a record is projected to, and whether it is accepted
    satisfies()                 section 3, "Conditions: about one event"
    window_bounds(), calendar   section 3, "Windows"
    Evaluator.holds()           section 3, "Conditions: about a person"
    Evaluator.has_run()         section 3, "Sequences"
    cut_sessions()              section 3, "Sessions"
    Evaluator.instants()        the instants at which a membership can change at all; a timeline is M at each of them

Values are held so that Python compares them exactly: string as str, long as int, boolean as bool, double and decimal
as decimal.Decimal with six places. Timestamps are integers, milliseconds since the epoch, UTC. Python orders str by
code point, which is the byte order of UTF-8.

On the command line it takes the place of `rollcall eval`:

    naive.py eval -f PATH... --events [D=]FILE... (--timeline [--until MS] | --at MS...) [--strict]
"""
import argparse
import bisect
import datetime
import decimal
import functools
import json
import os
import re
import sys
import zoneinfo
from decimal import Decimal

from check_definitions import DAY_MS, EPOCH_ORDINAL, BadDefinition, check, duration_ms, instant_ms

decimal.getcontext().prec = 100  # sums and products below never need rounding

HOUR_MS = 3_600_000
FIRST_MS = (datetime.date(1, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY_MS
LAST_MS = (datetime.date(9999, 12, 31).toordinal() + 1 - EPOCH_ORDINAL) * DAY_MS - 1
FOREVER = 1 << 80  # beyond every timestamp


class BadEvent(Exception):
    """A record of the dataset that cannot be used: it would go to the dead letters, and makes nobody exist."""


# ---- Calendar --------------------------------------------------------------------------------------------------------
# Timezones are named by text everywhere, so that the answers can be remembered.

@functools.lru_cache(maxsize=None)
def zone(timezone):
    return zoneinfo.ZoneInfo(timezone)


@functools.lru_cache(maxsize=1 << 16)
def utc_offset_ms(timezone, t):
    """What the local clock of `timezone` is ahead of UTC at instant `t`. At the very ends of time, that of near by."""
    t = max(FIRST_MS + 2 * DAY_MS, min(t, LAST_MS - 2 * DAY_MS))
    utc = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(milliseconds=t)
    return utc.astimezone(zone(timezone)).utcoffset() // datetime.timedelta(milliseconds=1)


def local_ms(timezone, t):
    """The local clock at `t`, as the ms since 1970-01-01T00:00 on that clock."""
    return t + utc_offset_ms(timezone, t)


def local_date(timezone, t):
    return datetime.date.fromordinal(local_ms(timezone, t) // DAY_MS + EPOCH_ORDINAL)


@functools.lru_cache(maxsize=None)
def year_transitions(timezone, year):
    """The instants of a UTC year at which the local clock is put forward or back."""
    if not 2 <= year <= 9998:
        return ()
    found = []
    start = (datetime.date(year, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY_MS
    end = (datetime.date(year + 1, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY_MS
    for lo in range(start, end, DAY_MS):
        lo, hi = lo - 1, lo + DAY_MS - 1
        if utc_offset_ms(timezone, lo) != utc_offset_ms(timezone, hi):
            before = utc_offset_ms(timezone, lo)
            while hi - lo > 1:
                mid = (lo + hi) // 2
                lo, hi = (mid, hi) if utc_offset_ms(timezone, mid) == before else (lo, mid)
            found.append(hi)
    return tuple(found)


def transitions(timezone, start, end):
    """The instants of (start, end] at which the local clock is put forward or back."""
    years = range(local_date("UTC", start).year, local_date("UTC", end).year + 1)
    return [t for year in years for t in year_transitions(timezone, year) if start < t <= end]


@functools.lru_cache(maxsize=1 << 16)
def first_instant(timezone, date):
    """ "A unit starts at the first instant of its local date." Where midnight is skipped, that is later than 00:00;
    of a date that is skipped wholly, it is that of the next one."""
    midnight = (date.toordinal() - EPOCH_ORDINAL) * DAY_MS
    changes = transitions(timezone, midnight - 50 * HOUR_MS, midnight + 50 * HOUR_MS)
    ways = changes + [midnight - utc_offset_ms(timezone, t) for t in [midnight - 50 * HOUR_MS, *changes]]
    return min(t for t in ways if local_ms(timezone, t) >= midnight)


def unit_date(date, unit, forward):
    """The first date of the calendar unit that lies `forward` units after the one of `date`; None outside years 1-9999."""
    try:
        if unit == "day":
            return date + datetime.timedelta(days=forward)
        if unit == "week":
            return date - datetime.timedelta(days=date.weekday()) + datetime.timedelta(days=7 * forward)
        months = {"month": 1, "quarter": 3, "year": 12}[unit]
        n = (date.year * 12 + date.month - 1) // months * months + forward * months
        return datetime.date(n // 12, n % 12 + 1, 1)
    except (OverflowError, ValueError):
        return None


@functools.lru_cache(maxsize=1 << 16)
def unit_start(timezone, unit, t, forward):
    """The start of the calendar unit that lies `forward` units after (negative: before) that of instant `t`.

    "Hours are elapsed: the start is T less its local minutes, seconds and milliseconds, n units before is
    n * 3,600,000 ms earlier." """
    if unit == "hour":
        return t - local_ms(timezone, t) % HOUR_MS + forward * HOUR_MS
    date = unit_date(local_date(timezone, t), unit, forward)
    if date is None:
        return FOREVER if forward > 0 else -FOREVER
    return first_instant(timezone, date)


def unit_changes(timezone, unit, t, count):
    """Instants after `t` at which the calendar unit of the present changes: at least the next `count` of them."""
    if unit != "hour":
        return [unit_start(timezone, unit, t, n) for n in range(1, count + 1)]
    changes = []
    for _ in range(count + 2):
        following = t + HOUR_MS - local_ms(timezone, t) % HOUR_MS
        t = min([following, *transitions(timezone, t, following)])
        changes.append(t)
    return changes


# ---- Datasets: from a record to an event -----------------------------------------------------------------------------

def path_steps(path):
    r"""'a.b\.c' -> ['a', 'b.c']: a path steps with '.', and '\.' stands for a dot inside a name."""
    return [s.replace("\0", ".") for s in path.replace("\\.", "\0").split(".")]


def path_values(value, steps):
    """All values at the end of a path. "Through an array it yields every element's value; null, missing, and a scalar
    where a record is wanted yield none." A record at the end is yielded as it is; whoever wants a value calls it bad."""
    if value is None:
        return []
    if isinstance(value, list):
        return [v for e in value for v in path_values(e, steps)]
    if not steps:
        return [value]
    if isinstance(value, dict):
        return path_values(value.get(steps[0]), steps[1:])
    return []


def source_values(source, record, kafka):
    """The values of a source. `kafka`: {"key": …, "timestamp": …, "headers": {…}} of the record; in eval it is empty."""
    if "path" in source:
        return path_values(record, path_steps(source["path"]))
    if "first_of" in source:  # "the first that has a value; empty text is none here"
        for s in source["first_of"]:
            values = [v for v in source_values(s, record, kafka) if v != ""]
            if values:
                return values
        return []
    what = source["kafka"]
    value = kafka.get("headers", {}).get(what["header"]) if isinstance(what, dict) else kafka.get(what)
    return [] if value is None else [value]


def one_value(source, record, kafka, what):
    """ "Exactly one value is needed: text, or an integer taken in decimal; empty text, none or several make a bad event." """
    values = source_values(source, record, kafka)
    if len(values) != 1:
        raise BadEvent(f"{what}: {len(values)} values")
    value = values[0]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or value == "":
        raise BadEvent(f"{what}: neither text nor an integer: {value!r}")
    return value


def timestamp_ms(definition, record, kafka):
    text = one_value(definition, record, kafka, "timestamp")
    unit = definition.get("unit", "ms")
    if unit == "rfc3339":
        try:
            t = instant_ms(text)
        except ValueError as e:
            raise BadEvent(f"timestamp: {e}") from None
    else:
        if not re.fullmatch(r"-?[0-9]+", text):
            raise BadEvent(f"timestamp: not an integer: {text!r}")
        t = int(text)
        t = t * 1000 if unit == "s" else t // 1000 if unit == "us" else t
    if not FIRST_MS <= t <= LAST_MS:
        raise BadEvent("timestamp: outside the years 1-9999")
    return t


SIX_PLACES = Decimal("0.000001")


def field_value(field, value):
    """One value of a field as it is held, or BadEvent. "Nothing else is converted": only numbers to fixed point."""
    kind = field["type"]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "string" and isinstance(value, str) or kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "long" and isinstance(value, int) and number:
        if not -2**63 <= value < 2**63:
            raise BadEvent("outside 64 bits")
        held = value
    elif kind in ("double", "decimal") and number:
        exact = Decimal(value)  # "the exact value of the IEEE double, or the exact decimal, rounded half to even"
        if not exact.is_finite() or abs(exact) >= 10**13:
            raise BadEvent("magnitude")
        held = exact.quantize(SIX_PLACES, rounding=decimal.ROUND_HALF_EVEN)
        if abs(held) >= 9 * 10**12:
            raise BadEvent("magnitude")
    else:
        raise BadEvent(f"a value of another type: {value!r}")
    if "min" in field and held < exact_number(field["min"]):
        raise BadEvent("below min")
    return held


def field_values(field, record):
    """All values of a field of a record or element; what on_bad lets pass "counts as no value"."""
    held = []
    for value in source_values(field, record, {}):
        try:
            held.append(field_value(field, value))
        except BadEvent as e:
            if field.get("on_bad") != "no_value":
                raise BadEvent(f"{field['path']}: {e}") from None
    return held


def element_records(path, record):
    """The elements of an array: "null elements are left out, a single record is one element, anything else makes the
    event bad"."""
    *steps, last = path_steps(path)
    found = []
    for holder in path_values(record, steps):
        value = holder.get(last) if isinstance(holder, dict) else None
        for element in value if isinstance(value, list) else [value]:
            if isinstance(element, dict):
                found.append(element)
            elif element is not None:
                raise BadEvent(f"{path}: an element is no record")
    return found


class Event:
    """An accepted event, projected to its dataset's fields.

    fields:   name -> list of values, the reserved names among them
    elements: name of the array -> one dict (field -> list of values) an element
    """
    __slots__ = ("dataset", "namespace", "id", "ts", "event_id", "fields", "elements", "answers")

    def __init__(self, dataset, namespace, person_id, ts, event_id, fields, elements):
        self.dataset, self.namespace, self.id, self.ts, self.event_id = dataset, namespace, person_id, ts, event_id
        self.fields, self.elements = fields, elements
        self.answers = {}  # id of a part of a definition -> what it says of this event, see Evaluator.matching

    @property
    def order(self):
        """ "Equal timestamps: … event id, then dataset id, in byte order." """
        return (self.ts, self.event_id, self.dataset)

    @property
    def identity(self):
        """ "Two deliveries with the same dataset, person, timestamp and event id are one event." """
        return (self.dataset, self.namespace, self.id, self.ts, self.event_id)

    def values(self, name, focus):
        """All values of a field. `focus`: the elements that are looked at by themselves, array name -> element."""
        array, dot, field = name.partition(".")
        if not dot:
            return self.fields.get(name, [])
        if array in focus:
            return focus[array].get(field, [])
        return [v for element in self.elements.get(array, []) for v in element.get(field, [])]


def named_fields(p):
    """The names of all fields and arrays that an event condition looks at."""
    if "field" in p:
        return {p["field"]} | {p[op] for op in ("eq_field", "ne_field") if op in p}
    if "some" in p:
        return {p["some"]} | named_fields(p["where"])
    if "not" in p:
        return named_fields(p["not"])
    return {name for c in p.get("and", p.get("or", [])) for name in named_fields(c)}


def project(dataset, record, event_id, kafka):
    """The Event of a record; None when the dataset's `where` leaves it out; BadEvent when it cannot be used.

    event_id: what identifies the event by its position, used where the dataset names no `event_id`.
    """
    if not isinstance(record, dict):
        raise BadEvent("the record is no object")

    def named(name, names):
        return names is None or name in names

    def event(names):
        """The event with what is named alone (None: with all)."""
        namespace, person_id, ts, the_id = dataset["person"]["namespace"], "", 0, ""
        if isinstance(namespace, dict) and named("_namespace", names):
            namespace = one_value(namespace, record, kafka, "namespace")
        if names is None or names & {"_hour", "_weekday"}:
            ts = timestamp_ms(dataset["timestamp"], record, kafka)
        if names is None:
            person_id = one_value(dataset["person"]["id"], record, kafka, "person id")
            the_id = one_value(dataset["event_id"], record, kafka, "event id") if "event_id" in dataset else event_id
        fields = {name: field_values(f, record) for name, f in dataset.get("fields", {}).items() if named(name, names)}
        local = local_ms(dataset.get("timezone", "UTC"), ts)
        fields |= {"_dataset": [dataset["id"]], "_namespace": [namespace], "_hour": [local // HOUR_MS % 24],
                   "_weekday": [(local // DAY_MS + 3) % 7 + 1]}  # the epoch was a Thursday
        elements = {}
        for array, definition in dataset.get("elements", {}).items():
            wanted = {f: d for f, d in definition["fields"].items() if named(f"{array}.{f}", names)}
            if wanted or named(array, names):
                elements[array] = [{f: field_values(d, e) for f, d in wanted.items()}
                                   for e in element_records(definition["path"], record)]
        return Event(dataset["id"], namespace, person_id, ts, the_id, fields, elements)

    # "an event condition P, judged first and on the fields that it names alone"
    where = dataset.get("where")
    if where is not None and not satisfies(where, event(named_fields(where)), {}):
        return None
    return event(None)


# ---- Conditions about one event --------------------------------------------------------------------------------------

def fold_case(value):
    """Folds ASCII letters only: 'Ä' stays what it is."""
    return value.translate({c: c + 32 for c in range(ord("A"), ord("Z") + 1)}) if isinstance(value, str) else value


def glob_matches(glob, text):
    r"""Whether the whole text matches: `*` any run, `?` one code point, `\` escapes (alone at the end it is itself)."""
    if glob == "":
        return text == ""
    if glob[0] == "*":
        return any(glob_matches(glob[1:], text[i:]) for i in range(len(text) + 1))
    if glob[0] == "?":
        return text != "" and glob_matches(glob[1:], text[1:])
    literal, rest = (glob[1], glob[2:]) if glob[0] == "\\" and len(glob) > 1 else (glob[0], glob[1:])
    return text.startswith(literal) and glob_matches(rest, text[1:])


POSITIVE = {
    "eq": lambda v, x: v == x,
    "in": lambda v, x: v in x,
    "lt": lambda v, x: v < x,
    "le": lambda v, x: v <= x,
    "gt": lambda v, x: v > x,
    "ge": lambda v, x: v >= x,
    "contains": lambda v, x: x in v,
    "starts_with": lambda v, x: v.startswith(x),
    "ends_with": lambda v, x: v.endswith(x),
    "contains_any": lambda v, x: any(y in v for y in x),
    "contains_all": lambda v, x: all(y in v for y in x),
    "matches": lambda v, x: glob_matches(x, v),
}
NEGATIVE = {"ne": "eq", "not_in": "in", "not_contains": "contains"}  # "no value satisfies the positive"
ORDER = {op: POSITIVE[op] for op in ("eq", "lt", "le", "gt", "ge")} | {"ne": lambda v, x: v != x}


def exact_number(x):
    """A number of a definition, exactly as it is written."""
    return Decimal(repr(x)) if isinstance(x, float) else x


def test_holds(test, values, field_values_of):
    """The operators of a TEST over the values of its field.

    "The positives must hold for the same value, each of the others is judged over all values (`eq_field` by itself)."
    field_values_of: name -> values of another field, for eq_field and ne_field.
    """
    fold = fold_case if test.get("ignore_case") else lambda v: v
    operands = {op: [fold(exact_number(y)) for y in x] if isinstance(x, list) else fold(exact_number(x))
                for op, x in test.items()}
    values = [fold(v) for v in values]
    positives = [op for op in operands if op in POSITIVE]
    if positives and not any(all(POSITIVE[op](v, operands[op]) for op in positives) for v in values):
        return False
    for op, positive in NEGATIVE.items():
        if op in operands and any(POSITIVE[positive](v, operands[op]) for v in values):
            return False
    if "exists" in test and test["exists"] != bool(values):
        return False
    for op, wanted in (("eq_field", True), ("ne_field", False)):
        if op in test:
            others = [fold(v) for v in field_values_of(test[op])]
            if any(v in others for v in values) != wanted:
                return False
    return True


def satisfies(p, event, focus):
    """Whether an event satisfies the event condition P. `focus`: the elements that are looked at by themselves."""
    if "and" in p:
        return all(satisfies(c, event, focus) for c in p["and"])
    if "or" in p:
        return any(satisfies(c, event, focus) for c in p["or"])
    if "not" in p:
        return not satisfies(p["not"], event, focus)
    if "some" in p:
        array = p["some"]
        if array in focus:  # "where only one element is looked at already, it is that one"
            return satisfies(p["where"], event, focus)
        return any(satisfies(p["where"], event, focus | {array: e}) for e in event.elements.get(array, []))
    if "field" in p:
        return test_holds(p, event.values(p["field"], focus), lambda name: event.values(name, focus))
    return True  # {}: every event


def values_with(field, p, event):
    """The values of `field` in an event that count under `where`: of the event if it has P, or, for a field of
    elements, of each element that has P by itself."""
    array = field.partition(".")[0] if "." in field else None
    if array is None:
        return event.values(field, {}) if satisfies(p, event, {}) else []
    return [v for e in event.elements.get(array, []) if satisfies(p, event, {array: e})
            for v in event.values(field, {array: e})]


def compares(x, cmp):
    """CMP: "one or two of eq ne lt le gt ge …; both must hold"."""
    return all(ORDER[op](x, exact_number(y)) for op, y in cmp.items())


# ---- Windows and sessions --------------------------------------------------------------------------------------------

def window_bounds(window, t, timezone):
    """The timestamps that lie in a window at T = t: (least, greatest), both included."""
    if isinstance(window, str):  # T - D < ts <= T
        return t - duration_ms(window) + 1, t
    if "last" in window:  # T - L < ts <= T - E
        return t - duration_ms(window["last"]) + 1, t - duration_ms(window["except_last"])
    if "calendar" in window:
        count = window.get("count", 1)
        if window.get("complete"):  # the count whole units before T's own
            return (unit_start(timezone, window["calendar"], t, -count),
                    unit_start(timezone, window["calendar"], t, 0) - 1)
        return unit_start(timezone, window["calendar"], t, 1 - count), t
    least = instant_ms(window["from"]) if "from" in window else -FOREVER
    return least, min(t, instant_ms(window["to"]) - 1 if "to" in window else t)


def cut_sessions(events, timeout):
    """ "All events of A in time order, cut wherever the gap between neighbours exceeds the timeout." """
    sessions = []
    for e in events:
        if not sessions or e.ts - sessions[-1][-1].ts > timeout:
            sessions.append([])
        sessions[-1].append(e)
    return sessions


class View:
    """What a condition is evaluated over: the events A and S (in the order of Event.order) at the instant t."""
    __slots__ = ("segment", "person", "t", "a", "s", "timezone", "timeout")

    def __init__(self, segment, person, t, a, s, timezone, timeout):
        self.segment, self.person, self.t, self.a, self.s = segment, person, t, a, s
        self.timezone, self.timeout = timezone, timeout

    def over(self, a, s):
        return View(self.segment, self.person, self.t, a, s, self.timezone, self.timeout)

    def narrowed(self, window):
        """Nested windows intersect: S less what lies outside the window."""
        if window is None:
            return self
        least, greatest = window_bounds(window, self.t, self.timezone)
        return self.over(self.a, [e for e in self.s if least <= e.ts <= greatest])


# ---- The evaluator ---------------------------------------------------------------------------------------------------

def ids(x):
    return x if isinstance(x, list) else [x]


def parts(x):
    """Every JSON object inside a definition's condition, itself included."""
    if isinstance(x, dict):
        yield x
        for y in x.values():
            yield from parts(y)
    elif isinstance(x, list):
        for y in x:
            yield from parts(y)


class Evaluator:
    """Definitions and all events that were accepted for them. A person is the pair (namespace, id)."""

    def __init__(self, definitions):
        self.datasets = {d["id"]: d for d in definitions if d["kind"] == "dataset"}
        self.segments = {d["id"]: d for d in definitions if d["kind"] == "segment"}
        self.audiences = {d["id"]: d for d in definitions if d["kind"] == "audience"}
        self.events = {}  # person -> {identity: Event}
        self.lines = dict.fromkeys(self.datasets, 0)  # records seen so far, per dataset
        self._lists = {}  # (person, datasets) -> (timestamps, events), forgotten when an event comes

    # -- Events

    def accept(self, dataset, records, event_ids=None, kafka=None):
        """Takes records of a dataset, in any order.

        dataset:   the dataset's id
        records:   JSON values as json.loads yields them (numbers with a fraction or exponent as float); None is a null
                   record and ignored; an Exception in a record's place is a record that could not be read, hence bad
        event_ids: the texts that identify the records by position; left out: their line numbers, counted on from the
                   records of earlier calls and padded with zeros to 20 digits
        kafka:     what the `kafka` sources see of each record: {"key", "timestamp", "headers"}; left out: nothing
        Returns the bad ones: (line number, reason).
        """
        bad = []
        for i, record in enumerate(records):
            self.lines[dataset] += 1
            line = self.lines[dataset]
            try:
                if isinstance(record, Exception):
                    raise BadEvent(str(record))
                event = None if record is None else project(self.datasets[dataset], record,
                                                            event_ids[i] if event_ids else f"{line:020}",
                                                            kafka[i] if kafka else {})
            except BadEvent as e:
                bad.append((line, str(e)))
                continue
            if event is not None:
                self.events.setdefault((event.namespace, event.id), {}).setdefault(event.identity, event)
                self._lists.clear()
        return bad

    def greatest_timestamp(self):
        """None when no event was accepted."""
        return max((e.ts for events in self.events.values() for e in events.values()), default=None)

    def events_of(self, person, datasets):
        """(timestamps, events) of a person in the datasets, in order."""
        key = (person, tuple(datasets))
        if key not in self._lists:
            events = sorted((e for e in self.events.get(person, {}).values() if e.dataset in datasets),
                            key=lambda e: e.order)
            self._lists[key] = ([e.ts for e in events], events)
        return self._lists[key]

    # -- M

    def member(self, segment, person, t):
        """M(segment, person, t): section 1. False before the person's first event in the segment's datasets."""
        definition = self.segments[segment]
        datasets = ids(definition["dataset"])
        timestamps, events = self.events_of(person, datasets)
        a = events[:bisect.bisect_right(timestamps, t)]
        if not a:
            return False
        first = self.datasets[datasets[0]]
        view = View(segment, person, t, a, a, first.get("timezone", "UTC"),
                    duration_ms(first.get("session_timeout", "30m")))
        return self.holds(definition["where"], view.narrowed(definition.get("window")))

    def audience_datasets(self, audience):
        """ "For an audience: the datasets of all segments that it names." """
        named = {p["segment"] for p in parts(self.audiences[audience]["where"]) if "segment" in p}
        return sorted({d for s in named for d in ids(self.segments[s]["dataset"])})

    def audience_member(self, audience, person, t):
        """Whether the audience's and / or / not over segments holds for a person who exists for it."""
        timestamps, _ = self.events_of(person, self.audience_datasets(audience))
        if not timestamps or timestamps[0] > t:
            return False

        def holds(c):
            if "and" in c:
                return all(holds(x) for x in c["and"])
            if "or" in c:
                return any(holds(x) for x in c["or"])
            return not holds(c["not"]) if "not" in c else self.member(c["segment"], person, t)
        return holds(self.audiences[audience]["where"])

    @staticmethod
    def matching(p, events):
        """The events with P. Whether an event has P depends on nothing else, so each event remembers."""
        key = id(p)
        for e in events:
            if key not in e.answers:
                e.answers[key] = satisfies(p, e, {})
        return [e for e in events if e.answers[key]]

    @staticmethod
    def values(field, c, event):
        """What an event brings to the aggregate, `latest` or `first` c of a field; remembered likewise."""
        key = id(c)
        if key not in event.answers:
            event.answers[key] = values_with(field, c.get("where", {}), event)
        return event.answers[key]

    def holds(self, c, view):
        """A condition about a person, over the A and S of `view`."""
        if "segment" in c:
            return self.member(c["segment"], view.person, view.t)
        view = view.narrowed(c.get("window"))
        if "and" in c:
            return all(self.holds(x, view) for x in c["and"])
        if "or" in c:
            return any(self.holds(x, view) for x in c["or"])
        if "not" in c:
            return not self.holds(c["not"], view)
        if "event" in c:
            return self.count_holds(c, view)
        if "sequence" in c:
            return self.sequence_holds(c, view)
        if "session" in c:
            n = len(self.sessions_with(c, view))
            return compares(n, c.get("count", {"ge": 1}))
        for head in ("latest", "first"):
            if head in c:
                return self.edge_holds(c, c[head], view.s[::-1] if head == "latest" else view.s)
        for head in ("sum", "min", "max", "avg", "distinct"):
            if head in c:
                values = [v for e in view.s for v in self.values(c[head], c, e)]
                return self.aggregate_holds(head, values, c["is"])
        raise BadDefinition(f"no head of a condition in {sorted(c)}")

    def count_holds(self, c, view):
        events = self.matching(c["event"], view.s)
        cmp = c.get("count", {"ge": 1})
        if "same" not in c:
            return compares(len(events), cmp)
        held = [set(e.values(c["same"], {})) for e in events]
        return any(compares(sum(v in values for values in held), cmp) for v in set().union(*held))

    @staticmethod
    def edge_holds(c, field, events):
        """latest and first: `events` with the one that decides in front."""
        for e in events:
            values = Evaluator.values(field, c, e)
            if values:
                return test_holds(c["is"], values, None)
        return False  # "when there is no such event, also for negative operators"

    @staticmethod
    def aggregate_holds(head, values, cmp):
        if head == "distinct":
            return compares(len(set(values)), cmp)
        if head == "sum":
            return compares(sum(values), cmp)
        if not values:
            return False
        if head == "avg":  # "compares sum with threshold × count, exactly"
            return all(ORDER[op](sum(values), exact_number(x) * len(values)) for op, x in cmp.items())
        return compares(min(values) if head == "min" else max(values), cmp)

    def sessions_with(self, c, view):
        """The sessions in scope whose events satisfy c["session"]; with `closed`, only those that are over."""
        found = []
        for events in cut_sessions(view.a, view.timeout):
            in_scope = any(e is events[0] for e in view.s)
            over = view.t > events[-1].ts + view.timeout
            if in_scope and (over or not c.get("closed")) and self.holds(c["session"], view.over(events, events)):
                found.append(events)
        return found

    # -- Sequences

    def sequence_holds(self, c, view):
        if "same" not in c:
            return self.has_run(c, view)
        field = c["same"]
        for v in {v for e in view.s for v in e.values(field, {})}:
            # "all events of the run, the absent ones too, are among those whose F holds one common value"
            a = [e for e in view.a if v in e.values(field, {})]
            s = [e for e in view.s if v in e.values(field, {})]
            if self.has_run(c, view.over(a, s)):
                return True
        return False

    def units(self, step, view):
        """All units that a step can match, as (start, end)."""
        if "event" in step:
            return {(e.ts, e.ts) for e in self.matching(step["event"], view.s)}
        if "session" in step:
            return {(events[0].ts, events[-1].ts) for events in self.sessions_with(step, view)}
        choices = [{e.ts for e in self.matching(p, view.s)} for p in step["each"]]
        units = {(ts, ts) for ts in choices[0]}
        for timestamps in choices[1:]:  # one event more for each further P
            units = {(min(start, ts), max(end, ts)) for start, end in units for ts in timestamps}
        return units

    def has_run(self, c, view):
        """Whether the steps of a sequence can be matched one after the other.

        Every choice of units is followed; of a run so far only the start of its first unit and the end of its last
        matter, so runs that agree in both are followed once.
        """
        span = duration_ms(c["span"]) if "span" in c else None
        runs = None  # before the first unit
        absence = None  # the absence between the unit before and the next one
        for step in c["sequence"]:
            if "none" in step:
                absence = step
                continue
            units = self.units(step, view)
            if runs is None:
                runs = {(start if span is not None else None, end) for start, end in units
                        if absence is None or self.absent_before(absence, start, view)}
            else:
                within = duration_ms(step["within"]) if "within" in step else FOREVER
                after = duration_ms(step["after"]) if "after" in step else 0
                barred = [e.ts for e in self.matching(absence["none"], view.a)] if absence else []
                runs = {(first, end) for first, before in runs for start, end in units
                        if before < start <= before + within and (start > before + after or "after" not in step)
                        and not any(before < ts < start for ts in barred)}
            absence = None
        if span is not None:
            runs = {(first, end) for first, end in runs if end - first <= span}
        return any(absence is None or self.absent_after(absence, end, view) for _, end in runs)

    def absent_before(self, step, start, view):
        if "within" in step:  # in A in [start - D, start)
            least = start - duration_ms(step["within"])
            return not any(least <= e.ts < start for e in self.matching(step["none"], view.a))
        return not any(e.ts < start for e in self.matching(step["none"], view.s))

    def absent_after(self, step, end, view):
        last = view.t
        if "within" in step:  # in A in (end, end + D] and T >= end + D
            last = end + duration_ms(step["within"])
            if view.t < last:
                return False
        return not any(end < e.ts <= last for e in self.matching(step["none"], view.a))

    # -- Timelines

    def instants(self, segment, person, until, thorough=False):
        """Every instant, up to `until`, at which M of a segment can change for a person.

        The words of the specification name T only as: ts <= T; the edges of windows that slide (ts + duration) or
        follow the calendar; a session that is over (last + timeout + 1); an absence after the last unit (end + D).
        So an event is tried with each of these offsets. `thorough` adds the ms before and after each, every other
        duration in the definition, and the sums of two: slower, to show that nothing else matters.
        """
        definition = self.segments[segment]
        datasets = ids(definition["dataset"])
        first = self.datasets[datasets[0]]
        timezone = first.get("timezone", "UTC")
        timeout = duration_ms(first.get("session_timeout", "30m"))
        offsets, calendars, found = {0}, {}, set()
        for part in parts(definition):
            window = part.get("window")
            if isinstance(window, str):
                offsets.add(duration_ms(window))
            elif window is not None and "last" in window:
                offsets |= {duration_ms(window["last"]), duration_ms(window["except_last"])}
            elif window is not None and "calendar" in window:
                unit = window["calendar"]
                calendars[unit] = max(calendars.get(unit, 0), window.get("count", 1) + 1)
            if "none" in part and "within" in part:
                offsets.add(duration_ms(part["within"]))
            if "session" in part:
                offsets.add(timeout + 1)
            if thorough:
                offsets |= {duration_ms(part[k]) for k in ("within", "after", "span") if k in part}
            if "segment" in part:
                found |= self.instants(part["segment"], person, until, thorough)
        timestamps = set(self.events_of(person, datasets)[0])
        if not timestamps:
            return found
        if thorough:
            offsets |= {timeout, timeout + 1} | {a + b for a in offsets for b in offsets}
            offsets |= {o + d for o in offsets for d in (-1, 1)}
        found |= {ts + o for ts in timestamps for o in offsets}
        for unit, count in calendars.items():
            for ts in timestamps:
                found |= set(unit_changes(timezone, unit, ts, count))
            for t in transitions(timezone, min(timestamps), min(until, LAST_MS)):
                # the local date may go back here, and forward again at the next midnight
                found |= {t, t + DAY_MS - local_ms(timezone, t) % DAY_MS}
        return {t for t in found if t <= until}

    def changes(self, key, name, member, instants):
        """[(since, name, namespace, id, status)] of all persons. member(person, t) -> bool; instants(person) -> set."""
        rows = []
        for person in self.events:
            present = False
            for t in sorted(instants(person)):
                now = member(person, t)
                if now != present:
                    rows.append({key: name, "namespace": person[0], "id": person[1],
                                 "status": "realized" if now else "exited", "since": t})
                present = now
        return rows

    def timeline(self, until=None, segments=None, thorough=False):
        """Every change of every segment up to `until` (default: the greatest accepted timestamp), in the order in which
        `rollcall eval --timeline` prints them."""
        until = self.greatest_timestamp() if until is None else until
        rows = []
        for s in self.segments if segments is None else segments:
            rows += self.changes("segment", s, lambda p, t: self.member(s, p, t),
                                 lambda p: self.instants(s, p, until, thorough))
        return sorted(rows, key=lambda r: (r["since"], r["segment"], r["namespace"], r["id"]))

    def audience_timeline(self, until=None, audiences=None):
        """The same for audiences: rows {"audience", "namespace", "id", "status", "since"}, as if each were `continuous`
        and never expired."""
        until = self.greatest_timestamp() if until is None else until
        rows = []
        for a in self.audiences if audiences is None else audiences:
            named = {p["segment"] for p in parts(self.audiences[a]["where"]) if "segment" in p}
            rows += self.changes("audience", a, lambda p, t: self.audience_member(a, p, t),
                                 lambda p: set().union(*(self.instants(s, p, until) for s in named)))
        return sorted(rows, key=lambda r: (r["since"], r["audience"], r["namespace"], r["id"]))

    def members_at(self, t, segments=None):
        """The members at instant t, in the order in which `rollcall eval --at` prints them."""
        return [{"at": t, "segment": s, "namespace": p[0], "id": p[1]}
                for s in sorted(self.segments if segments is None else segments)
                for p in sorted(self.events) if self.member(s, p, t)]

    def audience_members_at(self, t, audiences=None):
        return [{"at": t, "audience": a, "namespace": p[0], "id": p[1]}
                for a in sorted(self.audiences if audiences is None else audiences)
                for p in sorted(self.events) if self.audience_member(a, p, t)]


def load_definitions(definitions):
    """The Evaluator of a list of definitions, as json.loads yields them; BadDefinition where `check` finds fault."""
    check(definitions)
    return Evaluator(definitions)


# ---- The command line ------------------------------------------------------------------------------------------------

def read_definitions(paths):
    """All definitions of the files, each of which holds one object or an array of them."""
    found = []
    for path in paths:
        names = sorted(os.path.join(path, n) for n in os.listdir(path)) if os.path.isdir(path) else [path]
        for name in names:
            with open(name, encoding="utf-8") as f:
                found += ids(json.load(f, parse_float=Decimal))
    return found


def no_constant(name):
    raise ValueError(f"{name} is no JSON")


def parse_records(lines):
    """The records of JSONL lines (bytes); in the place of a line that is no JSON an exception, in that of an empty one
    None: it counts as a line but is no record."""
    records = []
    for line in lines:
        try:
            record = json.loads(line.decode("utf-8"), parse_constant=no_constant) if line.strip() else None
            json.dumps(record, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
            records.append(record)
        except ValueError as e:
            records.append(e)
    return records


def read_records(path):
    with open(path, "rb") as f:
        return parse_records(f)


def main(arguments):
    parser = argparse.ArgumentParser(prog="naive.py", description="A naive evaluator in the place of `rollcall eval`.")
    command = parser.add_subparsers(dest="command", required=True).add_parser("eval")
    command.add_argument("-f", dest="definitions", nargs="+", action="extend", required=True, metavar="PATH")
    command.add_argument("--events", nargs="+", action="extend", default=[], metavar="[D=]FILE")
    command.add_argument("--timeline", action="store_true")
    command.add_argument("--until", type=int, metavar="MS")
    command.add_argument("--at", type=int, action="append", default=[], metavar="MS")
    command.add_argument("--strict", action="store_true")
    options = parser.parse_args(arguments)
    if options.timeline == bool(options.at):
        print("exactly one of --timeline and --at is needed", file=sys.stderr)
        return 64
    try:
        evaluator = load_definitions(read_definitions(options.definitions))
    except (BadDefinition, ValueError) as e:
        print(f"definitions: {e}", file=sys.stderr)
        return 65
    for argument in options.events:
        dataset, equals, path = argument.partition("=")
        if not equals and len(evaluator.datasets) == 1:
            (dataset,), path = evaluator.datasets, argument
        if dataset not in evaluator.datasets:
            print(f"--events {argument}: no such dataset", file=sys.stderr)
            return 64
        bad = evaluator.accept(dataset, read_records(path))
        for line, reason in bad:
            print(f"{path}:{line}: {reason}", file=sys.stderr)
        if bad and options.strict:
            return 65
    greatest = evaluator.greatest_timestamp()
    if greatest is not None and any(t < greatest for t in options.at):
        print(f"--at lies before the greatest timestamp {greatest}", file=sys.stderr)
        return 64
    rows = evaluator.timeline(options.until) if options.timeline and evaluator.events else []
    for t in sorted(set(options.at)):
        rows += evaluator.members_at(t)
    sys.stdout.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
