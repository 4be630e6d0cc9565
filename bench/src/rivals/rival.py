"""Matches queries on events with Python's eql. Prints: queries that it takes, ns per event, matches."""
import json
import sys
import time

import eql

lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
events = [eql.Event(json_line["event"]["category"][0], 0, json_line) for json_line in map(json.loads, lines[1:])]
matches = 0


def count(_):
    global matches
    matches += 1


def parsed(query):
    with eql.parser.elasticsearch_syntax, eql.parser.ignore_missing_functions:
        return eql.parse_query(query, implied_any=True, implied_base=True)


def runs(query):
    """It raises on some queries where a field is a list."""
    try:
        engine = eql.PythonEngine()
        engine.add_query(parsed(query))
        for event in events:
            engine.stream_event(event)
        return True
    except Exception:
        return False


taken = [query for query in json.loads(lines[0]) if runs(query)]
engine = eql.PythonEngine()
for query in taken:
    engine.add_query(parsed(query))
engine.add_output_hook(count)
start = time.perf_counter_ns()
for event in events:
    engine.stream_event(event)
spent = time.perf_counter_ns() - start
print(len(taken), spent / len(events), matches)
