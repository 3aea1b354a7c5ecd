# SPDX-License-Identifier: Apache-2.0
"""The oracle: a load, clients and a checker that know the promises and none of the server's code; and the kills it judges. See README.md."""
import pathlib
import sys

# The client's socket, the token maker and the server as a process are those of the end-to-end tests.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
