"""Whether definitions are ones that the specification allows, and the reading of its durations and instants.

The naive evaluator refuses what is found here, so that it is never asked what a definition without meaning means, and
so that `generate.py` cannot hand such a one to the engine unnoticed. It knows datasets, segments and audiences; other
kinds are let pass.
"""
import datetime
import re
import zoneinfo
from decimal import Decimal

DAY_MS = 24 * 3_600_000
EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": DAY_MS, "w": 7 * DAY_MS}


class BadDefinition(Exception):
    """A definition that the specification does not allow."""


def duration_ms(text):
    """'36h' -> 129600000. "An integer and one of ms s m h d w; a day is exactly 24 h." """
    m = re.fullmatch(r"([0-9]+)(ms|s|m|h|d|w)", text) if isinstance(text, str) else None
    if not m:
        raise BadDefinition(f"not a duration: {text!r}")
    return int(m[1]) * UNIT_MS[m[2]]


RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)


def instant_ms(text):
    """RFC 3339 text with an offset -> ms; finer than ms is rounded towards minus infinity. ValueError if it is none."""
    m = RFC3339.fullmatch(text)
    if not m:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    year, month, day, hour, minute, second = (int(m[i]) for i in range(1, 7))
    date = datetime.date(year, month, day)
    off_hour, off_minute = (int(m[9]), int(m[10])) if m[8] else (0, 0)
    if hour > 23 or minute > 59 or second > 59 or off_hour > 23 or off_minute > 59:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    local = (date.toordinal() - EPOCH_ORDINAL) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000
    local += int(((m[7] or "") + "000")[:3])
    offset = (off_hour * 60 + off_minute) * 60_000
    return local + offset if m[8] == "-" else local - offset


# ---- The language's words --------------------------------------------------------------------------------------------

COMMON = {"kind", "id", "name", "description", "owner", "tags"}
DATASET = COMMON | {"topic", "format", "schema", "framing", "person", "timestamp", "event_id", "session_timeout",
                    "timezone", "grace", "keyed", "where", "fields", "elements"}
SEGMENT = COMMON | {"dataset", "window", "where"}
AUDIENCE = COMMON | {"where", "refresh", "at", "timezone", "expires", "size_limit", "destinations", "topic", "paused",
                     "on_end"}
# head -> the other keys that may stand with it
CONDITION = {"and": {"window"}, "or": {"window"}, "not": {"window"}, "event": {"count", "same", "window"},
             "sequence": {"same", "span", "window"}, "session": {"count", "closed", "window"}, "segment": set()}
CONDITION |= dict.fromkeys(("sum", "min", "max", "avg", "distinct", "latest", "first"), {"where", "is", "window"})
STEP = {"event": {"within", "after"}, "each": {"within", "after"}, "session": {"within", "after", "closed"},
        "none": {"within"}}
RESERVED = {"_dataset": "string", "_namespace": "string", "_hour": "long", "_weekday": "long"}
NUMBERS = ("long", "double", "decimal")
CMP = ("eq", "ne", "lt", "le", "gt", "ge")
ANY_TYPE, ON_NUMBERS = {"eq", "ne", "in", "not_in", "exists", "eq_field", "ne_field"}, {"lt", "le", "gt", "ge"}
ON_STRINGS = {"contains", "starts_with", "ends_with", "contains_any", "contains_all", "matches", "not_contains"}
LISTS = {"in", "not_in", "contains_any", "contains_all"}


def need(condition, message):
    if not condition:
        raise BadDefinition(message)


def keys(x, allowed, where, required=()):
    need(isinstance(x, dict), f"{where}: no object")
    need(not set(x) - set(allowed), f"{where}: unknown {sorted(set(x) - set(allowed))}")
    need(set(required) <= set(x), f"{where}: missing {sorted(set(required) - set(x))}")


def one_of(x, heads, where):
    need(isinstance(x, dict), f"{where}: no object")
    found = [h for h in heads if h in x]
    need(len(found) == 1, f"{where}: not exactly one head: {sorted(x)}")
    return found[0]


def places(x):
    """A decimal of at most six places."""
    if isinstance(x, float):
        x = Decimal(repr(x))
    number = isinstance(x, (int, Decimal)) and not isinstance(x, bool)
    return number and (isinstance(x, int) or x == x.quantize(Decimal("0.000001")))


def check_cmp(cmp, where):
    keys(cmp, CMP, where)
    need(1 <= len(cmp) <= 2 and all(places(x) for x in cmp.values()), f"{where}: {cmp}")


def zero_satisfies(cmp):
    tests = {"eq": lambda x: x == 0, "ne": lambda x: x != 0, "lt": lambda x: 0 < x, "le": lambda x: 0 <= x,
             "gt": lambda x: 0 > x, "ge": lambda x: 0 >= x}
    return all(tests[op](x) for op, x in cmp.items())


def check_window(window, where):
    if isinstance(window, str):
        duration_ms(window)
    elif "calendar" in window:
        keys(window, ("calendar", "count", "complete"), where)
        need(window["calendar"] in ("hour", "day", "week", "month", "quarter", "year"), f"{where}: {window}")
        need(isinstance(window.get("count", 1), int) and window.get("count", 1) >= 1, f"{where}: {window}")
    elif "last" in window:
        keys(window, ("last", "except_last"), where, ("last", "except_last"))
        need(duration_ms(window["except_last"]) < duration_ms(window["last"]), f"{where}: {window}")
    else:
        keys(window, ("from", "to"), where)
        for end in window.values():
            instant_ms(end)


class Names:
    """What conditions over some datasets can name: field -> type, and the arrays."""

    def __init__(self, datasets):
        self.types, self.arrays = dict(RESERVED), set()
        for d in datasets:
            own = {name: f["type"] for name, f in d.get("fields", {}).items()}
            for array, definition in d.get("elements", {}).items():
                self.arrays.add(array)
                own |= {f"{array}.{name}": f["type"] for name, f in definition["fields"].items()}
            for name, kind in own.items():
                need(self.types.setdefault(name, kind) == kind, f"field {name}: of different types")

    def type_of(self, name, where, kinds=None):
        need(name in self.types, f"{where}: no field {name!r}")
        need(kinds is None or self.types[name] in kinds, f"{where}: {name!r} is a {self.types[name]}")
        return self.types[name]


def check_operators(test, kind, where):
    need(test, f"{where}: no operator")
    for op, x in test.items():
        need(op in ANY_TYPE or op in ON_NUMBERS and kind in NUMBERS or op in ON_STRINGS and kind == "string",
             f"{where}: {op} on a {kind}")
        if op == "exists":
            need(isinstance(x, bool), f"{where}: exists {x!r}")
        elif op not in ("eq_field", "ne_field"):
            need(isinstance(x, list) == (op in LISTS), f"{where}: {op} {x!r}")
            for y in x if isinstance(x, list) else [x]:
                fits = {"string": isinstance(y, str), "boolean": isinstance(y, bool),
                        "long": isinstance(y, int) and not isinstance(y, bool)}
                need(fits.get(kind, places(y)), f"{where}: {op} {y!r} on a {kind}")


def check_event_condition(p, names, where):
    if p == {}:
        return
    head = one_of(p, ("and", "or", "not", "some", "field"), where)
    if head == "field":
        kind = names.type_of(p["field"], where)
        check_operators({k: v for k, v in p.items() if k not in ("field", "ignore_case")}, kind, where)
        for op in ("eq_field", "ne_field"):
            need(op not in p or names.type_of(p[op], where) == kind, f"{where}: {op} of another type")
    elif head == "some":
        keys(p, ("some", "where"), where, ("where",))
        need(p["some"] in names.arrays, f"{where}: no elements {p['some']!r}")
        check_event_condition(p["where"], names, where)
    else:
        keys(p, (head,), where)
        for x in [p["not"]] if head == "not" else p[head]:
            check_event_condition(x, names, where)


def check_condition(c, names, segments, where, in_session=False):
    head = one_of(c, [h for h in CONDITION if h in c and not (h == "min" and "is" not in c)], where)
    keys(c, CONDITION[head] | {head}, where, ("is",) if "is" in CONDITION[head] else ())
    where = f"{where}.{head}"
    if "window" in c:
        check_window(c["window"], where)
    if "count" in c:
        check_cmp(c["count"], where)
    if "same" in c:
        names.type_of(c["same"], where)
    if head in ("and", "or", "not"):
        for x in [c["not"]] if head == "not" else c[head]:
            check_condition(x, names, segments, where, in_session)
    elif head == "event":
        check_event_condition(c["event"], names, where)
        need("same" not in c or not zero_satisfies(c.get("count", {"ge": 1})), f"{where}: same, and 0 satisfies count")
    elif head == "segment":
        need(c["segment"] in segments, f"{where}: no segment {c['segment']!r}")
    elif head == "session":
        need(not in_session, f"{where}: inside a session")
        check_condition(c["session"], names, segments, where, True)
    elif head == "sequence":
        if "span" in c:
            duration_ms(c["span"])
        check_steps(c, names, segments, where, in_session)
    else:
        kind = names.type_of(c[head], where, NUMBERS if head in ("sum", "min", "max", "avg") else None)
        check_event_condition(c.get("where", {}), names, where)
        if head in ("latest", "first"):
            need(not {"eq_field", "ne_field"} & set(c["is"]), f"{where}: eq_field or ne_field")
            check_operators(c["is"], kind, where)
        else:
            check_cmp(c["is"], where)


def check_steps(c, names, segments, where, in_session):
    steps = c["sequence"]
    absences = ["none" in step for step in steps]
    units = [i for i, absence in enumerate(absences) if not absence]
    need(units, f"{where}: no unit")
    need(not any(a and b for a, b in zip(absences, absences[1:])), f"{where}: two absences in a row")
    for i, step in enumerate(steps):
        head = one_of(step, STEP, where)
        keys(step, STEP[head] | {head}, where)
        for k in ("within", "after"):
            need(k not in step or i != units[0], f"{where}: {k} on the first unit")
            if k in step:
                duration_ms(step[k])
        if head == "session":
            need(not in_session and "same" not in c, f"{where}: a session with same or inside a session")
            check_condition(step["session"], names, segments, where, True)
        elif head == "none":
            need("within" not in step or i < units[0] or i > units[-1], f"{where}: within between two units")
            check_event_condition(step["none"], names, where)
        else:
            ps = step["each"] if head == "each" else [step["event"]]
            need(ps, f"{where}: each without a condition")
            for p in ps:
                check_event_condition(p, names, where)


def references(x):
    if isinstance(x, dict):
        if isinstance(x.get("segment"), str):
            yield x["segment"]
        for y in x.values():
            yield from references(y)
    elif isinstance(x, list):
        for y in x:
            yield from references(y)


def check(definitions):
    """BadDefinition at the first thing that the specification does not allow."""
    by_kind = {}
    for d in definitions:
        need(isinstance(d, dict) and {"kind", "id"} <= set(d), "a definition without kind or id")
        need(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", d["id"]), f"id {d['id']!r}")
        need(d["id"] not in by_kind.setdefault(d["kind"], {}), f"{d['kind']} {d['id']}: twice")
        by_kind[d["kind"]][d["id"]] = d
    datasets, segments = by_kind.get("dataset", {}), by_kind.get("segment", {})
    for d in datasets.values():
        where = f"dataset {d['id']}"
        keys(d, DATASET, where, ("topic", "format", "person", "timestamp"))
        zoneinfo.ZoneInfo(d.get("timezone", "UTC"))
        duration_ms(d.get("session_timeout", "30m"))
        for name, holder in [("", d), *d.get("elements", {}).items()]:
            for field, f in holder.get("fields", {}).items():
                need(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", field), f"{where}: field {name}.{field}")
                keys(f, ("path", "type", "min", "on_bad", "labels"), f"{where}.{name}.{field}", ("path", "type"))
        check_event_condition(d.get("where", {}), Names([d]), f"{where}.where")
    for s in segments.values():
        where = f"segment {s['id']}"
        keys(s, SEGMENT, where, ("dataset", "where"))
        named = s["dataset"] if isinstance(s["dataset"], list) else [s["dataset"]]
        need(named and all(d in datasets for d in named), f"{where}: dataset {named}")
        if "window" in s:
            check_window(s["window"], where)
        check_condition(s["where"], Names([datasets[d] for d in named]), segments, f"{where}.where")

    def climb(segment, above):
        need(segment not in above, f"segment {segment}: a cycle")
        for r in references(segments[segment]["where"]):
            climb(r, above | {segment})
    for s in segments:
        climb(s, set())
    for a in by_kind.get("audience", {}).values():
        keys(a, AUDIENCE, f"audience {a['id']}", ("where",))
        named = set(references(a["where"]))
        need(named <= set(segments) and 1 <= len(named) <= 20, f"audience {a['id']}: segments {sorted(named)}")
