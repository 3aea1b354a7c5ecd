# SPDX-License-Identifier: Apache-2.0
"""The short form of `bench/run crowd`: phones that drop and come back all the time, events through a real broker that rules send to users, a role and
everybody. Every client gets all that the rules owe it, in order, flagged where repeated, and all of it is acked."""
import json
import os
import pathlib
import subprocess
import sys

from support.server import TOP
from support.tokens import SECRET

sys.path.append(str(TOP / "bench"))
from crowd import ROUTES  # what bench/run tells the crowd

BUILD = pathlib.Path(os.environ.get("DOORSTEP_BINARY", TOP / "build" / "ci" / "doorstep")).resolve().parent
CROWD = next((path for path in (BUILD / "bench" / "bench_crowd", TOP / "build" / "ci" / "bench" / "bench_crowd") if path.exists()), None)
PARTITIONS = 4
PROMISES = ("lost", "repeated_unflagged", "reordered", "unexpected", "unacked", "owed_at_end", "absent", "closed", "refused")


def run_crowd(doorstep, kafka, folder, seconds, mean_drop, bug=""):
    """@returns the exit code and the figures."""
    topic = kafka.make_topic(PARTITIONS, "crowd")
    server = doorstep({"delivery.ack_linger": "50ms", "delivery.ack_timeout": "2s", "delivery.retry_base": "100ms"}, [kafka.source(topic, f"g-{topic}")], start=False)
    server.routes = ROUTES
    server.environment = {"DOORSTEP_SEEDED_BUG": bug} if bug else {}
    server.start()
    figures = folder / "figures.json"
    done = subprocess.run([str(CROWD), "--connect", f"127.0.0.1:{server.port}", "--secret", SECRET, "--kafka", kafka.address, "--topic", topic, "--clients", "300",
                           "--rate", "50", "--mean-drop", str(mean_drop), "--pause-max", "1", "--silence", "4", "--warm", str(seconds // 4), "--seconds", str(seconds), "--drain", "15",
                           "--server-pid", str(server.process.pid), "--json", str(figures)], capture_output=True, text=True, timeout=90, check=False)
    print(done.stdout + done.stderr)
    return done.returncode, json.loads(figures.read_text())


def test_a_crowd_of_phones_that_drop_and_return_gets_and_acks_all_that_the_rules_owe_it(doorstep, kafka, tmp_path):
    assert CROWD, "bench_crowd is not built"
    code, figures = run_crowd(doorstep, kafka, tmp_path, 5, 3)
    assert code in (0, 3), figures  # 3: the machine was too busy for its figures
    assert {name: figures[name] for name in PROMISES} == dict.fromkeys(PROMISES, 0)
    assert figures["first"] == figures["owed"] > 5000
    assert min(figures[name] for name in ("first_user", "first_role", "first_all", "repeated", "goodbyes", "cuts", "silences")) > 0, figures


def test_a_crowd_notices_repeats_whose_flag_is_missing(doorstep, kafka, tmp_path):
    code, figures = run_crowd(doorstep, kafka, tmp_path, 1, 1, "flag-dropped")
    assert code == 1 and figures["repeated_unflagged"] > 0, figures
