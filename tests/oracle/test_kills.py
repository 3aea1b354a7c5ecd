# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the server under load, at random moments and at every named point; and each seeded bug, which the same run must catch.

DOORSTEP_SEED repeats a run, DOORSTEP_KILLS changes how often (10). The long form is scripts/chaos."""
import os
import pathlib
import random
import re
import subprocess

import pytest

from oracle import chaos
from support.kafka import Kafka

TOP = pathlib.Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("DOORSTEP_KILLS", "10"))


def seed():
    return os.environ.get("DOORSTEP_SEED", str(random.SystemRandom().randrange(1 << 32)))


def run_chaos(*words, timeout=120):
    """@returns the exit code and what was printed."""
    done = subprocess.run([str(TOP / "scripts" / "chaos"), "kill", *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False,
                          stdin=subprocess.DEVNULL)
    print(done.stdout + done.stderr)
    return done.returncode, done.stdout


def names_in_the_code(function):
    found = set()
    for folder in ("runtime", "storage", "net", "actors"):
        for path in (TOP / folder).glob("*.cpp"):
            found |= set(re.findall(function + r'\("([a-z-]+)"\)', path.read_text(encoding="utf-8")))
    return found


def test_every_crash_point_of_the_code_is_in_the_plan():
    assert names_in_the_code("crash_point") == set(chaos.POINTS + chaos.POINTS_OF_SOURCES + chaos.POINTS_OF_CHANNELS + chaos.POINTS_OF_MIRROR)


def test_ten_kills_in_the_middle_of_the_load_break_no_promise():
    code, printed = run_chaos("--kills", KILLS, "--seed", seed(), "--rate", 1000, "--users", 200, "--seconds-between", 1, timeout=30 + 12 * KILLS)
    assert code == 0, printed


def test_kills_break_no_promise_to_any_device_where_each_has_a_cursor():
    code, printed = run_chaos("--kills", KILLS, "--seed", seed(), "--rate", 600, "--users", 60, "--devices", 2, "--seconds-between", 1, timeout=60 + 12 * KILLS)
    assert code == 0, printed


def test_every_crash_point_is_reached_and_breaks_no_promise():
    points = chaos.POINTS + chaos.POINTS_OF_CHANNELS
    code, printed = run_chaos("--kills", 1 + len(points), "--seed", seed(), "--rate", 600, "--users", 60, "--seconds-between", 0.6, "--only-points", "--channels")
    assert code == 0, printed
    reached = [point for point in points if re.search(rf"{point} 1\b", printed)]
    assert len(reached) >= len(points) - 1, f"only {reached}"


def test_kills_while_events_come_from_kafka_break_no_promise():
    code, printed = run_chaos("--kills", 6, "--seed", seed(), "--rate", 500, "--users", 50, "--seconds-between", 1, "--points",
                              "source-commit,append-committed", "--kafka", Kafka().address)
    assert code == 0, printed


def test_kills_with_the_log_in_kafka_and_the_store_in_mongodb_break_no_promise():
    code, printed = run_chaos("--engine", "kafka-mongo", "--kafka", Kafka().address, "--kills", 3, "--seed", seed(), "--rate", 200, "--users", 50,
                              "--seconds-between", 3, "--drain", 90, "--standstill", 15, timeout=240)
    assert code == 0, printed


CAUGHT = {  # seeded bug: the column that it must show in, and a run that passes the place
    "receipt-before-durable": ("UNEXPECTED", ["--points", "none"]),
    "skipped-hole": ("LOST", ["--points", "none"]),
    "flag-dropped": ("DUP-UNFLAGGED", ["--points", "none"]),
    "reordered-push": ("ORDER-VIOLATIONS", ["--points", "none"]),
    "lost-at-handover": ("LOST", ["--points", "none"]),
    "accepted-before-fsync": ("LOST", ["--points", "append-staged", "--only-points"]),
    "early-commit": ("LOST", ["--points", "none", "--kafka"]),
}


def test_every_seeded_bug_of_the_code_has_its_test():
    assert names_in_the_code("seeded_bug") == set(CAUGHT)


@pytest.mark.parametrize("bug", CAUGHT)
def test_each_seeded_bug_is_caught(bug, tmp_path):
    column, how = CAUGHT[bug]
    if "--kafka" in how:
        how = [*how, Kafka().address]
    code, printed = run_chaos("--bug", bug, "--kills", 3, "--seed", seed(), "--rate", 600, "--users", 25, "--seconds-between", 0.6, "--standstill", 3,
                              "--folder", tmp_path, *how)
    assert code == 1 and int(re.search(rf"\b{column} (\d+)", printed).group(1)) > 0, printed
