# SPDX-License-Identifier: Apache-2.0
"""Where the program's memory lies."""
import pathlib

import pytest

from support.server import make_event


def asks_for_huge_pages(server):
    """Whether the kernel was asked to back any of its memory with huge pages; whether it does is the kernel's choice."""
    lines = pathlib.Path(f"/proc/{server.process.pid}/smaps").read_text().splitlines()
    return any("hg" in line.split()[1:] for line in lines if line.startswith("VmFlags:"))


@pytest.mark.parametrize("wanted", [True, False])
def test_huge_pages_are_asked_for_unless_they_are_switched_off(doorstep, wanted):
    server = doorstep({"runtime.huge_pages": wanted})
    server.publish(make_event("alice", 1))
    assert asks_for_huge_pages(server) == (wanted and pathlib.Path("/sys/kernel/mm/transparent_hugepage").exists())
    assert server.stop() == 0
