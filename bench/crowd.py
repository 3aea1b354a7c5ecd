# SPDX-License-Identifier: Apache-2.0
"""The workload `crowd` of bench/run: phones that drop and come back, and rules that send to users, a role and everybody. It has no floor: nothing else keeps what it owes."""
COLUMNS = [("cpu_us", "CPU-us/deliv"), ("core_percent", "% core"), ("rate", "deliv/s"), ("p50_ms", "p50 ms"), ("p99_ms", "p99 ms"), ("anon_kb_connection", "KB/conn"), ("rss_mb", "RSS MB"), ("end_rss_mb", "end MB"),
           ("returns", "returns"), ("first", "first"), ("lost", "lost"), ("repeated", "rep"), ("repeated_unflagged", "rep!flag"), ("reordered", "reord"), ("unexpected", "unexp"), ("unacked", "unacked"),
           ("owed_at_end", "owed"), ("closed", "cut off"), ("generator_cores", "gen"), ("broker_cores", "broker"), ("other_cores", "other")]
TOOLS = ["bench_crowd"]
ROUTES = """
[[routes]]
match.type = "bench.tick"
to = "touser"
[[routes]]
match.type = "bench.role"
to = "role:crowd"
[[routes]]
match.type = "bench.all"
to = "all"
"""


def shares(text):
    """60,30,10 as shares of users, the role and everybody."""
    parts = [float(x) for x in text.split(",")]
    return [x / sum(parts) for x in parts]


def words(options, broker, topic):
    """Of the load generator's command, behind what all workloads have."""
    _, role, everybody = shares(options.mix)
    return ["--clients", str(options.users), "--rate", str(options.rate), "--role-share", f"{role:.4f}", "--all-share", f"{everybody:.4f}", "--mean-drop", str(options.mean_drop),
            "--kafka", broker, "--topic", topic]
