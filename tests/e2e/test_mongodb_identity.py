# SPDX-License-Identifier: Apache-2.0
"""The way to a MongoDB that wants a password and speaks TLS: with what is right the store works, with what is wrong the start says what to do, and the password is nowhere."""
import ssl

import pytest

from support.client import Tab, run
from support.entrance import assert_secret
from support.keys import Authority
from support.mongo_gate import Gate
from support.mongodb import MongoDB
from support.server import make_event, run_doorstep

PASSWORD = "trout/fish@7:%"
WRITTEN = "trout%2Ffish%407%3A%25"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory):
    server = MongoDB(tmp_path_factory.mktemp("mongodb") / "data")
    yield server
    server.script("stop")


@pytest.fixture
def gate(mongodb, authority):
    certificate, key = authority.issue("mongodb")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    made = Gate(int(mongodb.uri.rsplit(":", 1)[1]), tls, {"doorstep": PASSWORD})
    yield made
    made.close()


def uri(gate, authority, user="doorstep", password=WRITTEN, ca=True, host="127.0.0.1", mechanism="SCRAM-SHA-256"):
    who = f"{user}:{password}@" if user else ""
    how = f"&authMechanism={mechanism}&authSource=admin" if user else ""
    trust = f"&tlsCAFile={authority.certificate}" if ca else ""
    return f"mongodb://{who}{host}:{gate.port}/?tls=true{trust}{how}"


def options(tmp_path, text, database="secured"):
    file = tmp_path / "uri"
    file.write_text(text + "\n")
    return {"store.engine": "mongodb", "store.uri_file": str(file), "store.database": database, "store.selection_timeout": "2s", "logging.level": "debug"}


def test_the_store_is_behind_a_password_and_tls_and_the_password_is_nowhere(doorstep, tmp_path, gate, authority):
    server = doorstep(options(tmp_path, uri(gate, authority)))
    assert gate.logins > 0 and gate.refused == 0

    async def scenario():
        tab = await Tab.open(server, "alice")
        server.publish(*[make_event("alice", n) for n in range(5)])
        await tab.ack(*(await tab.messages(5))[:3])
        await tab.close()

    run(scenario())
    shown = server.get("/v1/actors").body + server.get("/metrics").body + server.get("/v1/mailboxes/alice").body
    checked = run_doorstep("check-config", "--config", server.config_path)
    assert checked.returncode == 0 and checked.stdout == "ok\n"
    for text in (PASSWORD, WRITTEN, "trout"):
        assert text not in shown + checked.stdout + checked.stderr
    server.kill()
    server.start()

    async def the_rest():
        tab = await Tab.open(server, "alice")
        assert [m["event_id"] for m in await tab.messages(2)] == ["alice-3", "alice-4"]

    run(the_rest())
    assert server.stop() == 0
    assert_secret(server, PASSWORD, WRITTEN, "trout")


def refused_start(doorstep, tmp_path, text, *words):
    """It ends by itself, soon, and says `words`."""
    server = doorstep(options(tmp_path, text), start=False)
    server.start(wait=False)
    code = server.process.wait(20)
    log = server.log_path.read_text()
    assert code not in (0, -6, -11), log
    for word in words:
        assert word in log, log
    for secret in (PASSWORD, WRITTEN, "trout", "wrong-password"):
        assert secret not in log, log
    return code


def test_a_wrong_password_ends_the_start_and_says_where_it_stands(doorstep, tmp_path, gate, authority):
    refused_start(doorstep, tmp_path, uri(gate, authority, password="wrong-password"), "store.uri", "user and password")
    refused_start(doorstep, tmp_path, uri(gate, authority, user="nobody"), "store.uri", "user and password")
    refused_start(doorstep, tmp_path, uri(gate, authority, user=""), "store.uri", "user and password")
    assert gate.logins == 0 and gate.refused >= 3


def test_a_certificate_of_an_unknown_authority_or_another_name_ends_the_start_and_says_what_to_do(doorstep, tmp_path, gate, authority):
    refused_start(doorstep, tmp_path, uri(gate, authority, ca=False), "store.uri", "tlsCAFile")
    stranger = Authority(tmp_path / "stranger")
    refused_start(doorstep, tmp_path, uri(gate, stranger), "store.uri", "tlsCAFile")
    refused_start(doorstep, tmp_path, uri(gate, authority, host="localhost"), "store.uri", "certificate")
    refused_start(doorstep, tmp_path, uri(gate, authority).replace(str(authority.certificate), "/nowhere/ca.pem"), "store.uri", "/nowhere/ca.pem")
    # TLS is there and not asked for: the server hangs up on what it cannot read.
    refused_start(doorstep, tmp_path, uri(gate, authority).replace("tls=true", "tls=false").replace(f"&tlsCAFile={authority.certificate}", ""), "store.uri", "tls=true")
    assert gate.logins == 0


def test_a_uri_that_cannot_be_read_is_said_by_the_check_without_being_repeated(tmp_path):
    path = tmp_path / "doorstep.toml"
    for text in (f"mongodb://doorstep:{WRITTEN}@", f"mongodb://doorstep:{PASSWORD}@127.0.0.1/", f"http://doorstep:{WRITTEN}@127.0.0.1", f"mongodb://doorstep:{WRITTEN}@127.0.0.1/?tls=perhaps&x"):
        path.write_text(f"[store]\nengine = \"mongodb\"\nuri = \"{text}\"\n")
        done = run_doorstep("check-config", "--config", path)
        assert done.returncode == 78 and "store.uri" in done.stderr, (text, done.stderr)
        assert "trout" not in done.stdout + done.stderr
