# SPDX-License-Identifier: Apache-2.0
"""Short outages under load, judged by the oracle; the long forms are `scripts/chaos outage`. DOORSTEP_SEED repeats one."""
import os
import pathlib
import random
import subprocess

import pytest

from oracle.outage import FAULTS, LEFT_OUT

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("fault", FAULTS)
def test_an_outage_of_five_seconds_loses_nothing_and_is_over_soon_after(fault, tmp_path):
    seed = os.environ.get("DOORSTEP_SEED", str(random.SystemRandom().randrange(1 << 32)))
    done = subprocess.run([str(TOP / "scripts" / "chaos"), "outage", "--fault", fault, "--seed", seed, "--seconds", "5", "--before", "1.5", "--after", "4",
                           "--folder", str(tmp_path)], capture_output=True, text=True, timeout=150, check=False, stdin=subprocess.DEVNULL)
    print(done.stdout + done.stderr)
    if done.returncode == LEFT_OUT:
        pytest.skip(done.stdout)
    if done.returncode == 2 and "cannot be had" in done.stdout and os.environ.get("DOORSTEP_REQUIRE_PEERS") != "1":
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout
