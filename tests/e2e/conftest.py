# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests."""
import pytest

from support.kafka import Kafka, OwnKafka
from support.mongodb import MongoDB
from support.server import BINARY, Doorstep


@pytest.fixture(scope="session", autouse=True)
def the_program_is_built():
    assert BINARY.exists(), f"{BINARY} is not there: scripts/build ci doorstep, or DOORSTEP_BINARY"


@pytest.fixture
def doorstep(tmp_path):
    """A maker of servers in folders of their own; their logs are shown when the test fails."""
    made = []

    def make(options=None, sources=(), folder=None, start=True):
        server = Doorstep(folder or tmp_path / f"server-{len(made)}", options, sources)
        made.append(server)
        return server.start() if start else server

    yield make
    for server in made:
        server.close()
        print(f"--- {server.folder}\n{server.log_tail()}")


@pytest.fixture
def kafka():
    return Kafka()


@pytest.fixture(params=["sqlite", "mongodb"])
def store(request, tmp_path):
    """Options of a server with each of the stores beside, or with, the embedded log."""
    if request.param == "sqlite":
        yield {}
        return
    server = MongoDB(tmp_path / "mongodb")
    yield server.options()
    server.script("stop")


@pytest.fixture
def own_kafka(tmp_path):
    broker = OwnKafka(tmp_path / "kafka")
    yield broker
    broker.script("stop")
