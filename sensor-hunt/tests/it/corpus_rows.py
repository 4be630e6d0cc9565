"""Published hunts, asked by DuckDB: their ES|QL is rewritten as SQL, word for word, without anything of the sensor's.

    corpus_rows.py make HUNTS            events, one JSON document a line, made of the values that the hunts ask for
    corpus_rows.py ask HUNTS STORE NOW   for each query a line of JSON: its name, its text, its rows, its limit
"""

import glob
import ipaddress
import json
import os
import random
import re
import sys
import tomllib

TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|"""(?P<raw>.*?)"""|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<word>[@A-Za-z_][\w@.*-]*)'
    r"|(?P<number>\d+)|(?P<symbol>==|!=|<=|>=|[^\s])",
    re.S,
)
# Grok's own patterns that the hunts use, as its documentation has them.
GROK = {
    "BASE16NUM": r"(?<![0-9A-Fa-f])(?:[+-]?(?:0x)?(?:[0-9A-Fa-f]+))",
    "DATA": r".*?",
    "NUMBER": r"(?:(?<![0-9.+-])(?>[+-]?(?:(?:[0-9]+(?:\.[0-9]+)?)|(?:\.[0-9]+))))",
    "WORD": r"\b\w+\b",
}
# What such a hunt is after: mostly the same crash, others, and what is none.
CRASH = "[{at}] {name}[{pid}]: segfault at {a:x} ip 00007f{a:08x} sp 00007ffe{a:x} error 4 in {so}[7f{a:x}+1b000]"
CORE = " likely on CPU {cpu} (core {cpu}, socket 0)"


def queries(folder):
    for path in sorted(glob.glob(os.path.join(folder, "*.toml"))):
        with open(path, "rb") as file:
            hunt = tomllib.load(file)["hunt"]
        for number, text in enumerate(hunt["query"], 1):
            body = text.strip().removeprefix("sql\n").strip()
            if body.lower().startswith("from "):
                yield f"{os.path.basename(path)[:-5]} {number}", body


def tokens(text):
    out = []
    for match in TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "raw":
            out.append(("text", match["raw"]))
        elif kind == "text":
            plain = {"n": "\n", "t": "\t", "r": "\r"}
            out.append(("text", re.sub(r"\\(.)", lambda m: plain.get(m[1], m[1]), match["text"])))
        elif kind:
            out.append((kind, match[kind]))
    return out


def commands(text):
    found = [[]]
    for token in tokens(text):
        if token == ("symbol", "|"):
            found.append([])
        else:
            found[-1].append(token)
    return [(command[0][1].lower(), command[1:]) for command in found]


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def like(pattern):
    out, at = "", 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == "\\" and at + 1 < len(pattern):
            at += 1
            letter = pattern[at]
            out += "\\" + letter if letter in "%_\\" else letter
        else:
            out += {"*": "%", "?": "_", "%": "\\%", "_": "\\_"}.get(letter, letter)
        at += 1
    return quoted(out) + " escape '\\'"


class Sql:
    """Expressions: each name is a column, but for functions and for what the operators are called."""

    def __init__(self, tokens, lists, now):
        self.tokens, self.at, self.lists, self.now = tokens, 0, lists, now

    def peek(self, ahead=0):
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else ("end", "")

    def column(self, name):
        # One value is needed: several are null. The same twice is kept once.
        if name in self.lists:
            return f'(case when len(list_distinct("{name}")) = 1 then "{name}"[1] end)'
        return f'"{name}"'

    def arguments(self):
        assert self.peek() == ("symbol", "(")
        self.at += 1
        found = []
        while self.peek() != ("symbol", ")"):
            if self.peek() == ("symbol", "*"):
                self.at += 1
                continue
            found.append(self.expression({",", ")"}))
            if self.peek() == ("symbol", ","):
                self.at += 1
        self.at += 1
        return found

    def call(self, name):
        arguments = self.arguments()
        if name == "now":
            return f"timestamptz '{self.now}'"
        if name == "count":
            return f"count({', '.join(arguments) or '*'})"
        if name == "count_distinct":
            return f"count(distinct {arguments[0]})"
        if name == "replace":
            return f"regexp_replace({', '.join(arguments)}, 'g')"
        if name == "cidr_match":
            return f"cidr_match({arguments[0]}, [{', '.join(arguments[1:])}])"
        if name == "case":
            pairs = zip(arguments[0::2], arguments[1::2])
            other = f" else {arguments[-1]}" if len(arguments) % 2 else ""
            return "case " + " ".join(f"when {a} then {b}" for a, b in pairs) + other + " end"
        raise ValueError(f"no SQL for {name}")

    def expression(self, ends=()):
        out, depth = [], 0
        while self.peek()[0] != "end":
            kind, value = self.peek()
            if depth == 0 and kind == "symbol" and value in ends:
                break
            if depth == 0 and kind == "word" and value.lower() in ends:
                break
            self.at += 1
            word = value.lower() if kind == "word" else None
            if kind == "text":
                before = self.tokens[self.at - 2]
                out.append(like(value) if before[1].lower() == "like" else quoted(value))
            elif word == "rlike":
                column, pattern = out.pop(), self.peek()[1]
                self.at += 1
                out.append(f"regexp_full_match({column}, {quoted(pattern)}, 's')")
            elif word in {"and", "or", "not", "in", "is", "null", "like"}:
                out.append(word)
            elif kind == "word" and self.peek() == ("symbol", "("):
                out.append(self.call(word))
            elif kind == "word":
                out.append(self.column(value))
            elif kind == "number" and re.fullmatch("(day|hour|minute)s?", self.peek()[1]):
                out.append(f"interval {value} {self.peek()[1]}")
                self.at += 1
            else:
                depth += {"(": 1, ")": -1}.get(value, 0)
                out.append({"==": "=", "!=": "<>"}.get(value, value))
        return " ".join(out)

    def assigned(self, ends=()):
        """`name = expression, ...`"""
        while True:
            name = self.peek()[1]
            if self.peek(1) == ("symbol", "="):
                self.at += 2
            yield name, self.expression({",", *ends})
            if self.peek() != ("symbol", ","):
                return
            self.at += 1


def as_sql(text, lists, now):
    """The SQL, and how many rows it may return at most."""
    statement, limit, made_here = "", None, set()
    lists, parts = set(lists), commands(text)
    for place, (command, rest) in enumerate(parts):
        sql = Sql(rest, lists, now)
        if command == "from":
            rest = rest[: rest.index(("word", "metadata"))] if ("word", "metadata") in rest else rest
            names = "".join(value if value != "," else "\0" for _, value in rest).split("\0")
            tests = [f"'logs-' || \"data_stream.dataset\" || '-default' like {like(name)}" for name in names]
            statement = f"select * from events where {' or '.join(tests)}"
        elif command == "where":
            statement = f"select * from ({statement}) where {sql.expression()}"
        elif command == "eval":
            for name, value in sql.assigned():
                others = f'* exclude ("{name}")' if name in made_here else "*"
                statement = f'select {others}, {value} as "{name}" from ({statement})'
        elif command == "mv_expand":
            name = rest[0][1]
            if name in lists:
                lists.remove(name)
                values = f'case when len("{name}") > 0 then "{name}" else [null] end'
                statement = f'select * exclude ("{name}"), unnest({values}) as "{name}" from ({statement})'
        elif command == "grok":
            (_, column), (_, pattern) = rest
            names = re.findall(r"%\{\w+:(\w+)\}", pattern)
            made_here.update(names)
            found = ", ".join(f"grok(\"{column}\", {quoted(pattern)}, '{name}') as \"{name}\"" for name in names)
            statement = f"select *, {found} from ({statement})"
        elif command == "stats":
            made = [(name, value) for name, value in sql.assigned({"by"})]
            keys = []
            if sql.peek()[1].lower() == "by":
                sql.at += 1
                keys = [(name, value) for name, value in sql.assigned()]
            chosen = ", ".join(f'{value} as "{name}"' for name, value in made + keys)
            groups = f" group by {', '.join(value for _, value in keys)}" if keys else ""
            statement = f"select {chosen} from ({statement}){groups}"
        elif command == "limit":
            limit = min(limit or sys.maxsize, int(rest[0][1]))
        elif command == "keep":
            # Elsewhere it leaves out what nobody asks for.
            if place + 1 == len(parts):
                kept = ", ".join(f'"{value}"' for kind, value in rest if kind == "word")
                statement = f"select {kept} from ({statement})"
        elif command != "sort":
            raise ValueError(f"no SQL for {command}")
    return statement, limit


def matches(address, ranges):
    address = ipaddress.ip_address(address)
    nets = [ipaddress.ip_network(text, strict=False) for text in ranges]
    return any(net.version == address.version and address in net for net in nets)


def grok(text, pattern, name):
    """The first place where the pattern matches; `%{PATTERN:name}`."""
    regex = re.sub(r"%\{(\w+):(\w+)\}", lambda m: f"(?P<{m[2]}>{GROK[m[1]]})", pattern)
    found = re.search(regex, text) if text is not None else None
    return found and found[name]


def ask(folder, store, now):
    import duckdb

    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.create_function("cidr_match", matches, ["VARCHAR", "VARCHAR[]"], "BOOLEAN")
    texts = ["VARCHAR", "VARCHAR", "VARCHAR"]
    connection.create_function("grok", grok, texts, "VARCHAR", null_handling="special")
    files = os.path.join(store, "dataset=*", "*", "*.parquet")
    read = f"read_parquet('{files}', union_by_name = true, hive_partitioning = false)"
    connection.execute(f'create table events as select * replace ("@timestamp"::timestamptz as "@timestamp") from {read}')
    described = connection.execute("describe events").fetchall()
    lists = {row[0] for row in described if row[1].endswith("[]")}
    columns = {row[0] for row in described}
    for name, text in queries(folder):
        # A column that no event has is not in the files.
        for kind, word in tokens(text):
            if kind == "word" and is_field(word) and word not in columns:
                connection.execute(f'alter table events add column "{word}" varchar')
                columns.add(word)
        sql, limit = as_sql(text, lists, now)
        rows = connection.execute(sql).fetchall()
        rows = ["|".join("null" if cell is None else str(cell) for cell in row) for row in rows]
        print(json.dumps({"name": name, "query": text, "sql": sql, "rows": sorted(rows), "limit": limit}))


def is_field(word):
    return word == "message" or ("." in word and "*" not in word)


def some(pick, text):
    """A value that a pattern with wildcards matches."""
    for star in ("\\*", "*"):
        text = text.replace(star, pick.choice(["a", "b.c", "x1"]))
    return text.replace("?", "q")


OTHERS = {
    "ip": ["10.1.2.3", "8.8.8.8", "1.1.1.1", "127.0.0.1", "fe80::1", "2001:db8::7"],
    "port": [22, 22, 443, 50000],
    "executable": ["/tmp/x", "/usr/bin/dpkg", "/run/y", "/home/al/.cfg/run", "/bin/sh", "/srv/.hidden", "/tmp/a/b"],
    "name": ["curl", "CURL", "XMrig2", "KWorker1", "rare", "sh"],
    "command_line": ["curl http://10.0.0.1/x", "sh -c id", "wget 1.2.3.4"],
    "path": ["/tmp/z", "/opt/q"],
    "id": ["1", "2", "3", "4", "5"],
}


def make(folder, events_each=150):
    pick = random.Random(7)
    for _, text in queries(folder):
        parts = commands(text)
        pattern = next(value for _, value in parts[0][1])
        dataset = pattern.removeprefix("logs-").rstrip("*").rstrip("-") or "endpoint.events.file"
        wanted, field = {}, None
        for _, rest in parts[1:]:
            for at, (kind, value) in enumerate(rest):
                if kind == "word" and is_field(value):
                    field = value
                    wanted.setdefault(field, [])
                elif kind == "text" and field and re.match(r"[\w/*.@ -]", value):
                    if "rlike" not in [rest[at - 1][1].lower()]:
                        wanted[field].append(some(pick, value))
        wanted.setdefault("agent.id", [])
        wanted.setdefault("host.id", [])
        used = {command for command, _ in parts}
        crashes = "grok" in used
        # Some ask for hundreds of the same.
        count = events_each * (100 if "mv_expand" in used else 4 if crashes else 1)
        for number in range(count):
            age = pick.choice([1, 3, 6, 20, 29, 40]) * 86_400_000 + pick.randrange(3_600_000)
            if crashes:
                age = pick.randrange(18 * 3_600_000)
            event = {"@timestamp": 1_768_003_200_000 - age, "data_stream.dataset": dataset}
            for field, values in wanted.items():
                end = next((end for end in OTHERS if field.endswith("." + end)), "path")
                fixed = field.startswith(("event.", "host.os"))
                values = [] if end in {"ip", "port"} else values
                chance = pick.random()
                if values and chance < (0.95 if fixed else 0.75):
                    event[field] = pick.choice(values)
                elif chance < 0.97:
                    event[field] = pick.choice(OTHERS[end])
                    # Some that are rare, and many that are different.
                    if end in {"ip", "executable", "name"} and pick.random() < 0.5:
                        event[field] = {"ip": "8.8.4.", "executable": "/tmp/r", "name": "XM"}[end]
                        event[field] += str(pick.randrange(200))
                if field in {"event.type", "event.category"} and field in event and pick.random() < 0.1:
                    event[field] = [event[field], "info"]
            if crashes and pick.random() < 0.9:
                usual = pick.random() < 0.9
                crash = CRASH + (CORE if pick.random() < 0.95 else "")
                event["message"] = crash.format(
                    at=f"{number:8}.{number:06}" if pick.random() < 0.5 else f"{number}.5",
                    name="victim" if usual else pick.choice(["sh", "a-b", "x1"]),
                    so="libc.so.6" if usual else pick.choice(["x y.so", "[vdso]", ""]),
                    pid=number,
                    a=pick.randrange(1 << 32),
                    cpu=pick.randrange(4),
                )
            print(json.dumps(event))


if __name__ == "__main__":
    make(sys.argv[2]) if sys.argv[1] == "make" else ask(*sys.argv[2:5])
