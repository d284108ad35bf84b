#!/usr/bin/env python3
"""Random cases for the language of definitions: datasets, segments, and the records of a few persons.

    generate.py --seed N --out DIR      writes the case folder of a seed: defs.json, events.DATASET.jsonl, times.json
    generate.py --coverage COUNT        tells which words of the language occur in so many cases, and how often

`case(seed)` is the same as a Python value; a seed always gives the same case. Times lie on grids that make windows,
steps, sessions and calendar units end exactly on events, around changes of the local clock, a new year and a leap day.
Records come shuffled, some twice, some at the same millisecond, and a few are bad on purpose: whoever accepts one of
these gives other members. Every definition is valid (`check_definitions.py` is asked).
"""
import argparse
import collections
import datetime
import json
import os
import random
import re
import sys

import naive
from check_definitions import check, duration_ms, instant_ms, zero_satisfies

Case = collections.namedtuple("Case", "seed definitions events times")
Case.__doc__ = """A case: definitions (a list), events (dataset -> JSONL lines as text), times ({"until": MS, "at": [MS…]})."""

# Around what time, and in which timezone something happens there.
ANCHORS = [
    ("2026-03-28T23:00:00Z", "Europe/Stockholm"),    # midnight, two hours before the clock goes forward
    ("2026-10-24T22:00:00Z", "Europe/Stockholm"),    # midnight, three hours before it goes back
    ("2040-03-24T23:00:00Z", "Europe/Stockholm"),    # beyond the transitions that a zone file lists
    ("2026-03-08T05:00:00Z", "America/New_York"),
    ("2026-11-01T04:00:00Z", "America/New_York"),
    ("2026-04-04T13:00:00Z", "Australia/Lord_Howe"),  # back by half an hour at 15:00Z
    ("2026-10-03T13:30:00Z", "Australia/Lord_Howe"),  # forward by half an hour at 15:30Z
    ("2026-09-06T02:00:00Z", "America/Santiago"),     # midnight is skipped: the day starts at 01:00
    ("2026-04-05T01:00:00Z", "America/Santiago"),     # midnight comes, and it is 23:00 again
    ("2026-04-23T20:00:00Z", "Africa/Cairo"),         # midnight is skipped
    ("2026-03-08T03:30:00Z", "America/St_Johns"),
    ("2024-02-28T22:00:00Z", "UTC"),                  # a leap day
    ("2025-12-31T22:00:00Z", "Asia/Kathmandu"),       # a new year
    ("2025-12-31T18:30:00Z", "Asia/Kolkata"),
    ("1969-12-31T23:00:00Z", "UTC"),                  # timestamps below and above zero
]
TIMEZONES = sorted({tz for _, tz in ANCHORS})

# name -> (grid steps in ms, points on the grid, durations, calendar units)
SCALES = {
    "ms": ((1, 5, 10), 40, "1ms 2ms 5ms 10ms 20ms 30ms 50ms 100ms 150ms", "hour day"),
    "s": ((1000,), 120, "1s 3s 5s 10s 30s 1m 2m", "hour day month"),
    "min": ((60_000, 300_000), 150, "1m 5m 10m 30m 1h 90m 2h", "hour hour day week"),
    "hour": ((1_800_000, 3_600_000), 60, "30m 1h 90m 2h 6h 12h 1d 36h", "hour hour day day week month year"),
    "day": ((21_600_000, 43_200_000, 86_400_000), 60, "12h 1d 36h 2d 7d 1w 10d 30d", "hour day day week month quarter"),
    "month": ((432_000_000, 604_800_000), 80, "1w 2w 30d 90d 180d 365d", "day week month quarter year"),
}

TYPES = ["view", "view", "view", "add", "add", "checkout", "buy", "login", "search"]
URLS = ["/", "/Cart", "/cart", "/checkout*", "/p/A1", "/p/B1?x=1", "/p/b1", "/p/é", "/ä/ö", "/a\\b", "http://x.example/?p*"]
SKUS = ["A1", "A2", "a?1", "a1", "B*", "b2", "C-3", "ÄÄ", "ää", "Ä", "1", "", "𝄞x"]
WORDS = ["red", "Red", "gr*n", "A1", "b2", "/Cart", "x.y", "\\"]
GLOBS = ["*", "/p/*", "/p/?", "?", "*a*", "/p/?1*", "/checkout\\*", "*\\*", "*\\", "*\\\\b", "A?", "[A]*", "", "*é", "?x", "a*b*c"]
# 0.0078125 and the like are exact doubles half-way between two numbers of six places
AMOUNTS = [0, 0.1, 0.2, 0.3, 5, 9.99, 10, 10, 20, 20.0, 24.999999, 25, 25.5, 50, 99.999999, 0.0078125, 0.0234375, 0.0390625]
LIMITS = [0, 0.1, 0.3, 5, 9.99, 10, 15, 20, 20.1, 25, 25.5, 30, 50, 60, 100, 0.007812, 0.023438, 0.039062]
QUANTITIES = [0, 1, 1, 2, 2, 3, 5, 10, -1]
GREAT = [2**63 - 1, 2**63 - 1, -2**63, 2**62, 1]


class Raw(str):
    """A number in a spelling of its own, such as 1e2, that json.dumps would not write."""


def to_json(record, ascii_only):
    def mark(x):
        if isinstance(x, Raw):
            return f"\ue000{x}\ue000"
        if isinstance(x, dict):
            return {k: mark(v) for k, v in x.items()}
        return [mark(v) for v in x] if isinstance(x, list) else x
    text = json.dumps(mark(record), ensure_ascii=ascii_only)
    return re.sub("\"(?:\ue000|\\\\ue000)(.*?)(?:\ue000|\\\\ue000)\"", r"\1", text)


class Schema:
    """What the datasets of a case agree on: for each field its type and what its values look like."""
    FIELDS = {  # name -> (type, paths to choose from, values)
        "type": ("string", ["type", "event.type"], TYPES),
        "url": ("string", ["url", "page.url"], URLS),
        "promo": ("string", ["promo", "meta.utm\\.source"], SKUS[:6] + ["/Cart"]),
        "tags": ("string", ["tags", "lists.tag"], WORDS),
        "amount": ("decimal", ["amount", "order.total"], AMOUNTS + [-5, Raw("1e1"), Raw("2.5E1"), Raw("-0.0"), Raw("1e-7")]),
        "score": ("double", ["score", "model.score"], AMOUNTS + [-0.5, Raw("1E+1"), 8999999999999.998, -8999999999999]),
        "qty": ("long", ["qty", "order.qty"], QUANTITIES),
        "big": ("long", ["big"], GREAT),
        "nums": ("long", ["nums", "lists.n"], QUANTITIES),
        "member": ("boolean", ["member", "crm.member"], [True, False]),
        "trial": ("boolean", ["trial"], [True, False]),
    }
    MANY = ("tags", "nums")  # these hold several values
    ELEMENTS = {
        "items": (["items", "order.lines"], {
            "sku": ("string", ["sku", "product.sku"], SKUS),
            "alt": ("string", ["alt"], SKUS),
            "price": ("decimal", ["price"], AMOUNTS),
            "n": ("long", ["n"], QUANTITIES),
            "codes": ("string", ["codes"], WORDS),
            "gift": ("boolean", ["gift"], [True, False])}),
        "stores": (["stores", "visit.stores"], {
            "city": ("string", ["city"], ["A1", "Umeå", "Lund", "lund"]),
            "dist": ("double", ["dist"], AMOUNTS)}),
    }


def operand_pool(kind, name, values):
    """What a TEST on a field may compare with: values that occur, and some near them."""
    if kind in ("double", "decimal"):
        return LIMITS
    if kind == "long":
        return values if name == "big" else values + [4, 7]
    return values


class Names:
    """The fields and arrays that conditions over some datasets can name, with operands for each."""

    def __init__(self, datasets, persons):
        self.types = {"_dataset": "string", "_namespace": "string", "_hour": "long", "_weekday": "long"}
        self.operands = {"_dataset": [d["id"] for d in datasets], "_namespace": sorted({p[0] for p in persons}),
                         "_hour": [0, 1, 2, 5, 12, 22, 23], "_weekday": [1, 2, 6, 7]}
        self.arrays = []
        for d in datasets:
            for name in d.get("fields", {}):
                kind, _, values = Schema.FIELDS.get(name, ("string", None, ["ours", "foreign"]))
                self.add(name, kind, values)
            for array, definition in d.get("elements", {}).items():
                if array not in self.arrays:
                    self.arrays.append(array)
                for name in definition["fields"]:
                    kind, _, values = Schema.ELEMENTS[array][1][name]
                    self.add(f"{array}.{name}", kind, values)

    def add(self, name, kind, values):
        self.types[name] = kind
        self.operands[name] = [v for v in operand_pool(kind, name, values) if not isinstance(v, Raw)]

    def of(self, *kinds, array=None):
        """Names of the fields of some types (none: of all); array: of that one's elements alone."""
        return [n for n, k in self.types.items() if (not kinds or k in kinds)
                and (array is None or n.startswith(array + "."))]


def put(record, path, value):
    """Sets what a path leads to. `lists.x` is an array of records, so that its path passes through an array."""
    *steps, last = naive.path_steps(path)
    if steps == ["lists"]:
        record.setdefault("lists", []).extend({last: v} for v in (value if isinstance(value, list) else [value]))
        return
    for step in steps:
        record = record.setdefault(step, {})
    record[last] = value


class Generator:
    """The choices of one seed."""

    def __init__(self, seed, persons=None):
        self.seed, self.r = seed, random.Random(seed)
        self.almanac = self.chance(0.15)  # calendar windows at every turn, where the local clock changes
        scale = self.r.choice(["min", "hour", "hour", "day"] if self.almanac else list(SCALES))
        steps, self.points, durations, units = SCALES[scale]
        self.step, self.durations, self.units = self.r.choice(steps), durations.split(), units.split()
        anchor, self.timezone = self.r.choice(ANCHORS)
        self.start = instant_ms(anchor)
        if scale == "month":
            self.start -= 200 * 86_400_000
        elif scale == "day":
            self.start -= 10 * 86_400_000
        self.points = self.r.randint(self.points // 4, self.points)
        # A laboratory: few types and points in time, durations of a few steps. Steps, absences, sessions and ties meet
        # their limits all the time there.
        self.lab = not self.almanac and self.chance(0.35)
        self.types = ["view", "add", "buy"] if self.lab else TYPES
        if self.lab:
            self.points = self.r.randint(5, 14)
            self.durations = [f"{n * self.step}ms" for n in (1, 2, 3, 4, 5, 8)]
        self.told = []  # (person, ms, event id) of the events so far
        self.persons = [(self.r.choice(["ecid", "email"]), self.r.choice(["p", "p", "å", "x:y\\"]) + str(i))
                        for i in range(persons or self.r.randint(1, 5))]
        if self.chance(0.3):
            self.persons.append(("ecid", "42"))

    def chance(self, p):
        return self.r.random() < p

    def duration(self):
        return self.r.choice(self.durations)

    def instant(self):
        """A point on the grid, now and then a millisecond beside it."""
        return self.start + self.step * self.r.randint(0, self.points) + self.r.choice([0] * 12 + [-1, 1])

    # -- Datasets

    def source(self, path, others):
        """A source that reads `path`, perhaps as one among others that have no value."""
        if self.chance(0.6):
            return {"path": path}
        choices = [{"path": path}]
        for other in others:
            choices.insert(self.r.randint(0, 1), other)
        return {"first_of": choices}

    def dataset(self, name):
        r = self.r
        d = {"kind": "dataset", "id": name, "topic": f"{name}.events", "format": "json",
             "person": {"namespace": self.source("person.ns", [{"kafka": {"header": "ns"}}]) if self.chance(0.75)
                        else r.choice(["ecid", "email"]),
                        "id": self.source("person.id", [{"path": "cookie"}, {"kafka": "key"}])},
             "timestamp": self.source("ts", [{"kafka": "timestamp"}])}
        unit = r.choice(["ms", "ms", "ms", "us", "rfc3339"] + (["s"] if self.step % 1000 == 0 else []))
        if unit != "ms" or self.chance(0.5):
            d["timestamp"]["unit"] = unit
        if self.chance(0.85):
            d["event_id"] = self.source("id", [{"path": "none.such"}])
        if self.chance(0.85):
            d["session_timeout"] = self.duration()
        if self.chance(0.85):
            d["timezone"] = self.timezone if self.chance(0.6) else r.choice(TIMEZONES)
        if self.chance(0.1):
            d["grace"] = self.duration()
        if self.chance(0.1):
            d["keyed"] = self.chance(0.5)
        if self.chance(0.1):
            d |= {"name": "N", "description": "D", "owner": "O", "tags": ["t"]}
        fields = {n: self.field(n, *Schema.FIELDS[n]) for n in Schema.FIELDS if n == "type" or self.chance(0.6)}
        elements = {}
        for array, (paths, inner) in Schema.ELEMENTS.items():
            if self.chance(0.75):
                chosen = {n: self.field(n, *inner[n]) for n in inner if self.chance(0.7)}
                if chosen:
                    elements[array] = {"path": r.choice(paths), "fields": chosen}
        if self.chance(0.3):
            fields["kind"] = {"path": "kind", "type": "string"}
            d["where"] = r.choice([
                {"field": "kind", "eq": "ours"}, {"field": "kind", "ne": "foreign"},
                {"not": {"field": "kind", "starts_with": "FOR", "ignore_case": True}},
                {"and": [{"field": "kind", "exists": True}, {"field": "kind", "not_in": ["foreign", "other"]}]}])
        elif self.chance(0.1):
            d["where"] = self.event_condition(Names([{"id": name, "fields": fields, "elements": elements}],
                                                    self.persons), 1)
        return d | {"fields": fields} | ({"elements": elements} if elements else {})

    def field(self, name, kind, paths, _values):
        f = {"path": self.r.choice(paths), "type": kind}
        if kind in ("long", "double", "decimal") and name != "big" and self.chance(0.4):
            f["min"] = self.r.choice([0, 0, 0, -1, 0.1 if kind != "long" else 1])
        if self.chance(0.3):
            f["on_bad"] = "no_value"
        if self.chance(0.05):
            f["labels"] = ["C2", "own-label"]
        return f

    # -- Records

    def field_value(self, name, values):
        r = self.r
        if name in Schema.MANY or name == "codes":
            return [r.choice(values) for _ in range(r.randint(0, 3))]
        if self.chance(0.06):
            return r.choice([None, [], [r.choice(values)], [r.choice(values), r.choice(values)], [None, r.choice(values)]])
        return r.choice(values)

    def timestamp(self, unit, ms):
        """The timestamp as it stands in a record. What is finer than a millisecond must not matter."""
        r = self.r
        if unit == "rfc3339":
            offset = r.choice([0, 0, 60, -300, 345, -210, 840])
            local = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=ms + offset * 60_000)
            finer = f"{ms % 1000:03}" + r.choice(["", "", "9", "000001", "999999"])
            fraction = "" if finer == "000" and self.chance(0.5) else "." + finer
            zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}" if offset else "Z"
            return local.strftime("%Y-%m-%dT%H:%M:%S") + fraction + zone
        t = ms // 1000 if unit == "s" else ms * 1000 + r.choice([0, 0, 1, 500, 999]) if unit == "us" else ms
        return str(t) if self.chance(0.15) else t

    def record(self, d, person, ms, event_id):
        r = self.r
        record = {}
        namespace, person_id = person
        if isinstance(d["person"]["namespace"], dict):
            put(record, "person.ns", namespace)
        if person_id == "42" and self.chance(0.5):
            person_id = 42
        several = "first_of" in d["person"]["id"]
        sources = [s.get("path") for s in d["person"]["id"]["first_of"]] if several else ["person.id"]
        if "cookie" in sources and self.chance(0.5):
            # the same person, known by the other source; that one's empty text is no value
            put(record, "cookie", person_id)
            if sources.index("cookie") > sources.index("person.id"):
                put(record, "person.id", r.choice(["", None])) if self.chance(0.7) else None
            else:
                put(record, "person.id", r.choice(["other", "", person_id]))
        else:
            put(record, "person.id", person_id)
            if "cookie" in sources and self.chance(0.5):
                put(record, "cookie", r.choice(["", None]) if sources.index("cookie") < sources.index("person.id") else "other")
        put(record, "ts", self.timestamp(d["timestamp"].get("unit", "ms"), ms))
        if "event_id" in d:
            put(record, "id", event_id)
        for name, f in d["fields"].items():
            if name == "kind":
                put(record, "kind", r.choice(["ours", "ours", "ours", "ours", "foreign"]))
            elif self.chance(0.95 if name == "type" else 0.75):
                value = self.field_value(name, self.types if name == "type" else Schema.FIELDS[name][2])
                if isinstance(value, (int, float)) and value < f.get("min", value) and self.chance(0.9):
                    value = abs(value) + 1
                put(record, f["path"], value)
        for array, definition in d.get("elements", {}).items():
            if self.chance(0.8):
                elements = []
                for _ in range(r.choice([0, 1, 1, 2, 2, 3])):
                    element = {}
                    for name, f in definition["fields"].items():
                        if self.chance(0.85):
                            value = self.field_value(name, Schema.ELEMENTS[array][1][name][2])
                            if isinstance(value, (int, float)) and value < f.get("min", value):
                                value = abs(value) + 1
                            put(element, f["path"], value)
                    elements.append(element)
                if self.chance(0.1):
                    elements.append(None)
                put(record, definition["path"], elements[0] if len(elements) == 1 and self.chance(0.3) else elements)
        return record

    def spoil(self, d, record):
        """A line that makes a bad event of a good record (unless on_bad lets it pass, or nobody reads the place)."""
        r = self.r
        how = r.choice(["json", "person", "ts", "id", "field", "field", "field", "field", "element", "no object"])
        if how == "json":
            text = to_json(record, True)
            return r.choice([text[:-1], text + "}", "{'a': 1}", "", "NaN"])
        if how == "no object":
            return r.choice(["[]", "17", "null", '"text"', "true"])
        if how == "person":
            put(record, "person.id", r.choice([None, "", True, ["a", "b"], {"a": 1}, 1.5]))
            if "cookie" in record:
                record["cookie"] = None
        elif how == "ts":
            record["ts"] = r.choice([None, "", "soon", 1.5, True, 10**18, "2026-02-30T00:00:00Z", "2026-01-01T00:00:00",
                                     [1, 2], {"a": 1}, "-1-1", "1e3"])
        elif how == "id":
            record["id"] = r.choice([None, "", False, ["a", "b"], {}])
        elif how == "element" and "elements" in d:
            put(record, r.choice(list(d["elements"].values()))["path"], r.choice([1, "x", [1], [{}, "x"], True]))
        else:
            name, f = r.choice(list(d["fields"].items()))
            wrong = {"string": [1, 1.5, True, {}, ["a", 1]], "boolean": [0, "true", {}],
                     "long": [1.0, Raw("1e2"), "1", True, Raw("9223372036854775808"), {}, [1, "a"]],
                     "double": ["1", True, Raw("9e12"), Raw("1e300"), Raw("-9000000000000"), {}, [1, "a"]]}
            put(record, f["path"], r.choice(wrong["double" if f["type"] == "decimal" else f["type"]]))
        return to_json(record, True)

    def lines(self, d):
        """The JSONL lines of a dataset, in order of arrival."""
        r = self.r
        namespace, unit = d["person"]["namespace"], d["timestamp"].get("unit", "ms")
        seen, lines = set(), []
        for i in range(r.randint(4, (10 if self.lab else 18) * len(self.persons) + 6)):
            person = r.choice(self.persons)
            person = (namespace if isinstance(namespace, str) else person[0], person[1])
            ms = self.instant()
            if unit == "s":
                ms -= ms % 1000
            event_id = r.choice([f"e{r.randint(0, 99):02}", f"e{r.randint(0, 999999)}", r.randint(0, 20)])
            if self.told and self.chance(0.15):  # the same id and instant as another event, perhaps of another dataset
                person, ms, event_id = r.choice(self.told)
                person = (namespace if isinstance(namespace, str) else person[0], person[1])
                ms -= ms % 1000 if unit == "s" else 0
            if ("event_id" in d) and (person, ms, str(event_id)) in seen:
                continue  # two deliveries of one event have the same contents
            seen.add((person, ms, str(event_id)))
            self.told.append((person, ms, event_id))
            record = self.record(d, person, ms, event_id)
            if self.chance(0.06):
                if "event_id" not in d or not isinstance(record.get("id"), str) or self.chance(0.5):
                    record["id"] = f"bad{i}"  # its identity is its own, should it be accepted after all
                lines.append(self.spoil(d, record))
                continue
            if self.chance(0.03):
                record["extra"] = {"unknown": [1, {"x": None}]}
            text = to_json(record, self.chance(0.5))
            lines.append(text)
            if self.chance(0.1):
                lines.append(text)
        if self.chance(0.8):
            r.shuffle(lines)
        return lines

    # -- Conditions about one event

    def operand(self, names, field):
        return self.r.choice(names.operands[field])

    def glob(self, text):
        """A glob of the list, or one that the text matches: escaped, with a ? or * in the place of some of it."""
        if not isinstance(text, str) or self.chance(0.4):
            return self.r.choice(GLOBS)
        glob = [f"\\{c}" if c in "*?\\" else c for c in text]
        if glob and self.chance(0.7):
            i = self.r.randrange(len(glob))
            glob[i:i + self.r.randint(1, 3)] = [self.r.choice("?*")]
        return "".join(glob)

    def operators(self, names, field, in_latest=False):
        """One or two operators on a field, with operands."""
        r, kind = self.r, names.types[field]
        pool = ["eq", "eq", "in", "ne", "not_in", "exists"]
        if kind in ("long", "double", "decimal"):
            pool += ["lt", "le", "gt", "ge"] * 2
        if kind == "string":
            pool += ["contains", "starts_with", "ends_with", "contains_any", "contains_all", "matches", "matches", "not_contains"] * 2
        same_type = names.of(kind)
        if not in_latest:
            pool += ["eq_field", "ne_field"]
            if "." in field and self.chance(0.6):  # another field of the same element
                same_type = names.of(kind, array=field.partition(".")[0])
                pool += ["eq_field", "ne_field"] * 3
        test = {}
        for op in r.sample(pool, 1 if self.chance(0.7) else 2):
            value = self.operand(names, field)
            if op in ("contains", "starts_with", "ends_with", "not_contains") and value:
                cut = r.randint(1, len(value))
                value = value[-cut:] if op == "ends_with" else value[:cut]
            if op in ("in", "not_in", "contains_any", "contains_all"):
                value = [self.operand(names, field) for _ in range(r.randint(1, 3))]
                if op.startswith("contains"):
                    value = [v[:r.randint(1, 2)] or "1" for v in value]
            test[op] = {"exists": self.chance(0.6), "eq_field": r.choice(same_type), "ne_field": r.choice(same_type),
                        "matches": self.glob(value)}.get(op, value)
        return test

    def test(self, names, array=None):
        candidates = names.of(array=array) if array and self.chance(0.7) else names.of()
        if "type" in candidates and self.chance(0.7 if self.lab else 0.35):
            return {"field": "type", "eq": self.r.choice(self.types)}
        field = self.r.choice(candidates or names.of())
        if field.startswith("_") and self.chance(0.5):
            field = self.r.choice(candidates)
        test = {"field": field} | self.operators(names, field)
        if names.types[field] == "string" and self.chance(0.3):
            test["ignore_case"] = True
            for op, x in test.items():
                if op not in ("field", "ignore_case", "exists", "eq_field", "ne_field") and self.chance(0.5):
                    test[op] = [y.swapcase() for y in x] if isinstance(x, list) else x.swapcase()
        return test

    def event_condition(self, names, depth=2, array=None):
        x = self.r.random()
        if depth == 0 or x < 0.6:
            return self.test(names, array)
        if x < 0.75:
            head = self.r.choice(["and", "or"])
            return {head: [self.event_condition(names, depth - 1, array) for _ in range(self.r.choice([2, 2, 3, 1, 0]))]}
        if x < 0.83:
            return {"not": self.event_condition(names, depth - 1, array)}
        if x < 0.97 and names.arrays:
            inner = array if array in names.arrays and self.chance(0.4) else self.r.choice(names.arrays)
            return {"some": inner, "where": self.event_condition(names, depth - 1, inner)}
        return {} if x > 0.985 else self.test(names, array)

    # -- Conditions about a person

    def window(self):
        r, x = self.r, self.r.random()
        if self.almanac and x < 0.75:
            x = 0.7
        if x < 0.45:
            return self.duration()
        if x < 0.6:
            short, long = sorted(r.sample([d for d in self.durations if d != "1w"], 2), key=duration_ms)
            return {"last": long, "except_last": short}
        if x < 0.85:
            w = {"calendar": r.choice(self.units)}
            if self.chance(0.7):
                w["count"] = r.randint(1, 3)
            if self.chance(0.4):
                w["complete"] = self.chance(0.9)
            return w
        ends = sorted([self.instant(), self.instant()])
        text = [(datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=t)).isoformat(timespec="milliseconds")
                + "Z" for t in ends]
        return r.choice([{"from": text[0], "to": text[1]}, {"from": text[0]}, {"to": text[1]}])

    def cmp(self, numbers):
        r, x = self.r, self.r.random()
        if x < 0.5:
            return {r.choice(["ge", "ge", "gt"]): r.choice(numbers)}
        if x < 0.85:
            return {r.choice(["le", "lt", "eq", "ne"]): r.choice(numbers)}
        low, high = sorted([r.choice(numbers), r.choice(numbers)])
        return {r.choice(["ge", "gt"]): low, r.choice(["le", "lt", "ne"]): high}

    def count_cmp(self, same=False):
        while True:
            cmp = self.cmp([0, 1, 1, 1, 2, 2, 3, 4, 1.5])
            if not (same and zero_satisfies(cmp)):
                return cmp

    HEADS = ["event"] * 3 + ["same", "sum", "min", "max", "avg", "distinct", "latest", "first", "sequence", "sequence",
                             "sequence", "session", "session", "segment", "and", "or", "not"]

    def condition(self, names, depth=2, head=None, in_session=False, above=()):
        """A condition about a person. above: the segments that it may refer to."""
        r = self.r
        allowed = [h for h in self.HEADS if (depth > 0 or h not in ("and", "or", "not", "session"))
                   and not (in_session and h == "session") and (above or h != "segment")]
        head = head if head in allowed else r.choice(allowed)
        if self.lab and "sequence" in allowed and self.chance(0.4):
            head = "sequence"
        if head == "segment":
            return {"segment": r.choice(above)}
        deeper = {"depth": depth - 1, "in_session": in_session, "above": above}
        if head in ("and", "or"):
            c = {head: [self.condition(names, **deeper) for _ in range(r.choice([2, 2, 2, 3, 1, 0] if self.chance(0.1)
                                                                                else [2, 2, 3]))]}
        elif head == "not":
            c = {"not": self.condition(names, **deeper)}
        elif head == "event":
            c = {"event": self.event_condition(names)}
            if self.chance(0.6):
                c["count"] = self.count_cmp()
        elif head == "same":
            c = {"event": self.event_condition(names), "same": r.choice(names.of())}
            if self.chance(0.8):
                c["count"] = self.count_cmp(same=True)
        elif head in ("sum", "min", "max", "avg", "distinct", "latest", "first"):
            c = self.aggregate(names, head)
        elif head == "sequence":
            c = self.sequence(names, in_session, above)
        else:
            c = {"session": self.condition(names, **(deeper | {"in_session": True}))}
            if self.chance(0.5):
                c["count"] = self.count_cmp()
            if self.chance(0.5):
                c["closed"] = self.chance(0.85)
        if self.chance(0.4 if depth < 2 else 0.3):
            c["window"] = self.window()
        return c

    def aggregate(self, names, head):
        kinds = ("long", "double", "decimal") if head in ("sum", "min", "max", "avg") else ()
        fields = [n for n in names.of(*kinds) if not n.startswith("_") or self.chance(0.15)] or ["_hour"]
        inner = [n for n in fields if "." in n]
        field = self.r.choice(inner if inner and self.chance(0.4) else fields)
        array = field.partition(".")[0] if "." in field else None
        c = {head: field}
        if self.chance(0.65):
            c["where"] = self.event_condition(names, array=array)
        if head in ("latest", "first"):
            c["is"] = self.operators(names, field, in_latest=True)
        elif head == "distinct":
            c["is"] = self.count_cmp()
        elif field == "big":
            c["is"] = self.cmp(GREAT + [0])
        else:
            pool = QUANTITIES if names.types[field] == "long" else LIMITS
            c["is"] = self.cmp(pool + ([20, 30, 7.5] if head == "sum" else []) + ([1.5, 15.05] if head == "avg" else []))
        return c

    def sequence(self, names, in_session, above):
        r = self.r
        same = self.chance(0.35)

        def p():
            if "type" in names.types and self.chance(0.85 if self.lab else 0.65):
                return {"field": "type", "eq": r.choice(self.types[:6])}
            return self.event_condition(names, 1)

        steps, units = [], r.choice([1, 2, 2, 2, 3])
        for i in range(units):
            if self.chance(0.4 if i == 0 else 0.3):
                steps.append({"none": p()})
                if i == 0 and self.chance(0.5):
                    steps[-1]["within"] = self.duration()
            x = r.random()
            if x < 0.2 and not same and not in_session:
                step = {"session": self.condition(names, depth=r.choice([0, 0, 1]), in_session=True, above=above)}
                if self.chance(0.5):
                    step["closed"] = self.chance(0.85)
            elif x < 0.45:
                step = {"each": [p() for _ in range(r.randint(1, 3))]}
            else:
                step = {"event": p()}
            if i > 0:
                after, within = sorted([self.duration(), self.duration()], key=duration_ms)
                if self.chance(0.55):
                    step["within"] = within
                if self.chance(0.45) and ("within" not in step or duration_ms(after) < duration_ms(within)):
                    step["after"] = after
            steps.append(step)
        if self.chance(0.5):
            steps.append({"none": p()})
            if self.chance(0.65):
                steps[-1]["within"] = self.duration()
        c = {"sequence": steps}
        if same:
            c["same"] = r.choice(names.of())
        if self.chance(0.35):
            c["span"] = self.duration()
        return c

    # -- The whole

    def segment(self, name, datasets, head, depth, above):
        s = {"kind": "segment", "id": name,
             "dataset": datasets[0]["id"] if len(datasets) == 1 and self.chance(0.8) else [d["id"] for d in datasets]}
        if self.chance(0.75 if self.almanac else 0.35):
            s["window"] = self.window()
        return s | {"where": self.condition(Names(datasets, self.persons), depth, head, above=above)}

    def case(self, audiences=False):
        r = self.r
        datasets = [self.dataset(name) for name in ["web", "calls", "shop-pos"][:r.choice([1, 1, 2, 2, 3])]]
        events = {d["id"]: self.lines(d) for d in datasets}
        evaluator = naive.load_definitions(datasets)
        for name, lines in events.items():
            evaluator.accept(name, naive.parse_records(line.encode() for line in lines))
        greatest = evaluator.greatest_timestamp()
        evaluator.events = dict(list(evaluator.events.items())[:6])  # enough to see whether a segment tells anything
        greatest = self.start if greatest is None else greatest
        later = [greatest + duration_ms(self.duration()) + r.choice([0, 0, 1, -1]) for _ in range(3)]
        until = max(later) + r.choice([0, 1, 2 * max(map(duration_ms, self.durations))])
        times = {"until": until, "at": sorted({greatest, *(t for t in later if t >= greatest), until})}

        segments, drafts = [], []
        for i in range(r.randint(2, 5)):
            used = r.sample(datasets, r.randint(1, len(datasets)))
            head, depth = r.choice(self.HEADS + ["same", "session", "session", "sequence", "sequence"]), r.choice([0, 1, 1, 2, 3])
            for wanted in r.choice([(0,), (1, 1, 0), (2, 2, 2, 1, 1, 1, 0), (2, 2, 2, 2, 2, 2, 1, 1, 0)]):
                # a segment that nobody enters, or leaves again, tells little: most are drawn until somebody does
                s = self.segment(f"s{i}", used, head, depth, [x["id"] for x in segments])
                drafts.append(s)  # kept: the evaluator knows the parts of a definition by their addresses
                evaluator.segments[s["id"]] = s
                statuses = {row["status"] for row in evaluator.timeline(until, [s["id"]])}
                if len(statuses) >= wanted:
                    break
            segments.append(s)
        definitions = datasets + segments
        if self.chance(0.3):
            r.shuffle(definitions)
        check(definitions)
        if audiences:
            definitions = definitions + [self.audience(f"a{i}", segments) for i in range(r.randint(1, 3))]
            check(definitions)
        return Case(self.seed, definitions, events, times)

    def audience(self, name, segments):
        def where(depth):
            x = self.r.random()
            if depth == 0 or x < 0.3:
                return {"segment": self.r.choice(segments)["id"]}
            if x < 0.5:
                return {"not": where(depth - 1)}
            return {self.r.choice(["and", "or"]): [where(depth - 1) for _ in range(2)]}
        return {"kind": "audience", "id": name, "where": where(2)}


def case(seed, audiences=False, persons=None):
    """The case of a seed.

    audiences: with some of them after the other definitions, which stay as they are
    persons:   so many persons instead of a few: more checks for the time that a case takes to draw and to run
    """
    return Generator(seed, persons).case(audiences)


def write(case, folder):
    """Writes a case folder in the form of the conformance cases, without the results."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "defs.json"), "w", encoding="utf-8") as f:
        json.dump(case.definitions, f, indent=1, ensure_ascii=False)
        f.write("\n")
    for dataset, lines in case.events.items():
        with open(os.path.join(folder, f"events.{dataset}.jsonl"), "w", encoding="utf-8") as f:
            f.writelines(line + "\n" for line in lines)
    with open(os.path.join(folder, "times.json"), "w", encoding="utf-8") as f:
        json.dump(case.times, f)
        f.write("\n")


def coverage(count):
    """How often each word of the language occurs in the segments of `count` cases."""
    words = collections.Counter()
    for seed in range(count):
        for d in case(seed).definitions:
            words[f"dataset {d.get('timestamp', {}).get('unit')}" if d["kind"] == "dataset" else "segment"] += 1
            for part in naive.parts(d):
                words.update(part.keys())
                window = part.get("window")
                if isinstance(window, dict) and "calendar" in window:
                    words[f"{window['calendar']}{' complete' if window.get('complete') else ''}"] += 1
                elif window is not None:
                    words["sliding" if isinstance(window, str) else "except" if "last" in window else "from/to"] += 1
    return words


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="DIR")
    parser.add_argument("--coverage", type=int, metavar="COUNT")
    options = parser.parse_args()
    if options.coverage:
        for word, n in sorted(coverage(options.coverage).items()):
            print(f"{n:7} {word}")
        return 0
    if not options.out:
        parser.error("--out DIR is needed")
    write(case(options.seed), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
