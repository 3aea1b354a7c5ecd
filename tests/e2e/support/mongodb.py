# SPDX-License-Identifier: Apache-2.0
"""A server that speaks MongoDB's protocol, of the test's own, so that it may be killed (scripts/mongodb)."""
import os
import pathlib
import subprocess

import pytest

from support.ports import free_port

TOP = pathlib.Path(__file__).resolve().parents[3]


class MongoDB:
    def __init__(self, folder):
        self.folder = folder
        done = self.run("start", "--port", str(free_port()))
        if done.returncode != 0:
            say = pytest.fail if os.environ.get("DOORSTEP_REQUIRE_PEERS") == "1" else pytest.skip
            say(f"no MongoDB server: {done.stderr[-500:]}")
        self.uri = done.stdout.strip()

    def run(self, *words, timeout=60):
        return subprocess.run([str(TOP / "scripts" / "mongodb"), *words, "--dir", str(self.folder)], capture_output=True, text=True, timeout=timeout,
                              check=False)

    def script(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, f"scripts/mongodb {words}: {done.stderr[-2000:]}"

    def signal(self, number):
        """SIGSTOP: it keeps its connections and answers nobody; SIGCONT ends that."""
        os.kill(int((self.folder / "pid").read_text()), number)

    def options(self):
        """Of a server that keeps its store there."""
        return {"store.engine": "mongodb", "store.uri": self.uri, "store.database": "e2e", "store.selection_timeout": "1s"}
