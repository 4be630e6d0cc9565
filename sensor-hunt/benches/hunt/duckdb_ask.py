"""Asks DuckDB, with two threads, what `hunt ask` asks: duckdb_ask.py STORE. Prints times and the rows' number."""

import os
import resource
import sys
import time

import duckdb

QUESTION = """
select count(*) as cc, count(distinct "agent.id") as agent_count, "file.name", "process.executable"
from read_parquet('{glob}', union_by_name = true)
where "@timestamp"::timestamptz > timestamptz '2026-01-10 00:00:00+00' - interval 7 days
  and "host.os.type" = 'linux' and "event.action" in ('rename', 'creation')
  and ("file.path" like '/var/lib/dpkg/info/%' or "file.path" like '/var/lib/rpm/%')
  and not ("file.name" like '%-new' or "file.name" like '\\_\\_db%.%' escape '\\'
           or "file.name" like '%.list' or "file.name" like '%.md5sums%')
group by 3, 4 having agent_count <= 3 order by cc limit 100
"""


def main():
    glob = os.path.join(sys.argv[1], "dataset=endpoint.events.file", "*", "*.parquet")
    connection = duckdb.connect()
    connection.execute("set threads = 2")
    connection.execute("set TimeZone = 'UTC'")
    best = None
    for turn in ("first", "again", "again"):
        wall, cpu = time.perf_counter(), time.process_time()
        rows = connection.execute(QUESTION.format(glob=glob)).fetchall()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        best = wall if best is None else min(best, wall)
        print(f"duckdb     {turn}: {wall:.3f} s wall, {cpu:.3f} s CPU, {len(rows)} rows")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"duckdb     {duckdb.__version__}, {peak:.0f} MiB at most")
    print(f"value wall {best}")


main()
