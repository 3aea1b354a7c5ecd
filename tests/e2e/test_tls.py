# SPDX-License-Identifier: Apache-2.0
"""TLS on both ports, with Python's ssl and with curl; certificates that are exchanged, and clients that must show one."""
import asyncio
import http.client
import json
import signal
import socket
import ssl
import subprocess

import pytest

from support.client import run
from support.entrance import ending, knock, wait_for
from support.keys import Authority
from support.server import API_KEY, make_event, run_doorstep
from support.tokens import make_token


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def trusting(authority):
    return ssl.create_default_context(cafile=str(authority.certificate))


def with_tls(doorstep, tmp_path, authority, **more):
    """The public port; the internal one stays plain unless `more` says otherwise."""
    certificate, key = authority.issue("public")
    for source, name in ((certificate, "public.crt"), (key, "public.key")):
        (tmp_path / name).write_bytes(source.read_bytes())
    return doorstep({"http.tls_certificate": str(tmp_path / "public.crt"), "http.tls_key": str(tmp_path / "public.key")} | more)


def test_a_client_talks_by_tls_and_gets_its_messages(doorstep, tmp_path, authority):
    server = with_tls(doorstep, tmp_path, authority, **{"demo.enabled": True})
    server.publish(*(make_event("alice", n, filling="x" * 5000) for n in range(20)))

    async def scenario():
        what, _, tab = await knock(server, make_token("alice"), tls=trusting(authority))
        assert what == "connected"
        for message in await tab.messages(20):
            await tab.send({"ack": {"ids": [message["id"]]}})
        assert (await knock(server, None, tls=trusting(authority), headers={"Authorization": f"Bearer {make_token('bob')}"}))[0] == "connected"
        assert (await knock(server, "no token", tls=trusting(authority)))[0] == 3500
        with pytest.raises(ssl.SSLCertVerificationError):
            await knock(server, make_token("alice"), tls=ssl.create_default_context())
        await tab.send({"id": 5, "ack": {"ids": [message["id"]]}})
        while (await tab.next()).get("id") != 5:
            pass

    run(scenario())
    page = http.client.HTTPSConnection("127.0.0.1", server.port, context=trusting(authority), timeout=10)
    for _ in range(2):
        page.request("GET", "/")
        assert b"<html" in page.getresponse().read()[:500].lower()
    assert server.stop() == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a version that is asked for because it must be refused
def test_what_is_no_tls_is_cut_off_and_harms_nobody(doorstep, tmp_path, authority):
    server = with_tls(doorstep, tmp_path, authority, **{"http.request_timeout": "500ms"})
    old = trusting(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    for sent in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(300), b"", b"\x16\x03\x01\x02\x00" + bytes(20)):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
            plain.sendall(sent)
            try:
                while got := plain.recv(4096):  # an alert at most, then the end
                    assert b"HTTP" not in got
            except ConnectionResetError:
                pass
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            old.wrap_socket(plain, server_hostname="127.0.0.1")
    assert run(knock(server, make_token("alice"), tls=trusting(authority)))[0] == "connected"
    wait_for(lambda: server.metrics()["doorstep_connections"] <= 1)


def served_name(server, authority):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain, trusting(authority).wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        return dict(x[0] for x in tls.getpeercert()["subject"])["commonName"]


def test_a_certificate_is_exchanged_by_a_reload_and_sessions_stay(doorstep, tmp_path, authority):
    server = with_tls(doorstep, tmp_path, authority)
    assert served_name(server, authority) == "public"
    certificate, key = authority.issue("renewed")

    async def scenario():
        _, _, tab = await knock(server, make_token("alice"), tls=trusting(authority))
        (tmp_path / "public.crt").write_bytes(certificate.read_bytes())  # the key does not fit yet
        assert server.request("POST", "/v1/admin/reload").status == 422
        assert served_name(server, authority) == "public"
        (tmp_path / "public.key").write_bytes(key.read_bytes())
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: served_name(server, authority) == "renewed")
        server.publish(make_event("alice", 1))
        await tab.expect("message")
        reply = server.request("POST", "/v1/admin/disconnect", '{"user":"alice"}')
        assert reply.json() == {"disconnected": 1}
        assert (await ending(tab))[0] == 3008

    run(scenario())


def curl(server, authority, path, *arguments):
    """@returns the HTTP status, 0 where there was none, and the body."""
    out = subprocess.run(["curl", "-sS", "-m", "10", "--cacert", str(authority.certificate), "-w", "\n%{http_code}",
                          f"https://127.0.0.1:{server.internal_port}{path}", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=20)
    body, _, status = out.stdout.rpartition("\n")
    return int(status or 0), body


def test_the_internal_port_asks_for_a_certificate_which_may_stand_for_a_key(doorstep, tmp_path, authority):
    certificate, key = authority.issue("internal")
    server = doorstep({"internal.tls_certificate": str(certificate), "internal.tls_key": str(key), "internal.tls_client_ca": str(authority.certificate),
                       "internal.tls_clients": ["publish shop", "admin ops"]}, start=False)
    server.start(wait=False)
    shop, ops, other = (["--cert", issued[0], "--key", issued[1]] for issued in (authority.issue(name) for name in ("shop", "ops", "other")))
    stranger = Authority(tmp_path / "stranger", "authority").issue("ops")
    wait_for(lambda: curl(server, authority, "/health/ready", *ops)[0] == 200)
    assert curl(server, authority, "/health/ready")[0] == 0
    assert curl(server, authority, "/health/ready", "--cert", stranger[0], "--key", stranger[1])[0] == 0
    event = ["-H", "content-type: application/cloudevents+json", "-d", json.dumps(make_event("alice", 1))]
    assert curl(server, authority, "/v1/events", *shop, *event)[0] == 202
    assert curl(server, authority, "/v1/actors", *shop)[0] == 403
    assert curl(server, authority, "/v1/admin/reload", *ops, "-X", "POST")[0] == 200
    assert curl(server, authority, "/v1/events", *other, *event)[0] == 401
    assert curl(server, authority, "/v1/events", *other, *event, "-H", f"authorization: Bearer {API_KEY}")[0] == 202
    assert "audit reload who=ops" in server.log_path.read_text()
    command = ("dead-letters", "list", "--url", f"https://127.0.0.1:{server.internal_port}", "--api-key", API_KEY, "--ca", authority.certificate)
    assert run_doorstep(*command).returncode == 1
    out = run_doorstep(*command, "--certificate", other[1], "--certificate-key", other[3])
    assert out.returncode == 0 and "dead_letters" in out.stdout, out.stderr


def test_the_internal_port_takes_another_certificate_and_another_authority_of_clients_by_a_reload(doorstep, tmp_path, authority):
    other = Authority(tmp_path / "other")
    files = {name: tmp_path / name for name in ("own.crt", "own.key", "clients.pem")}

    def install(of, name, clients):
        for source, target in zip((*of.issue(name), clients.certificate), files.values()):
            target.write_bytes(source.read_bytes())

    install(authority, "first", authority)
    server = doorstep({"internal.tls_certificate": str(files["own.crt"]), "internal.tls_key": str(files["own.key"]), "internal.tls_client_ca": str(files["clients.pem"]),
                       "internal.tls_clients": ["admin ops"]}, start=False)
    server.start(wait=False)
    old, new = (["--cert", issued[0], "--key", issued[1]] for issued in (authority.issue("ops"), other.issue("ops")))
    wait_for(lambda: curl(server, authority, "/health/ready", *old)[0] == 200)
    assert curl(server, authority, "/v1/actors", *new)[0] == 0
    # What cannot be used changes nothing.
    files["clients.pem"].write_text("no certificate")
    assert curl(server, authority, "/v1/admin/reload", *old, "-X", "POST")[0] == 422
    assert curl(server, authority, "/v1/actors", *old)[0] == 200
    install(other, "second", other)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: curl(server, other, "/v1/actors", *new)[0] == 200)
    assert curl(server, other, "/v1/actors", *old)[0] == 0 and curl(server, authority, "/v1/actors", *new)[0] == 0


def test_certificates_that_cannot_be_used_are_said_before_the_start(doorstep, tmp_path, authority):
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")
    for options, words in (({"http.tls_certificate": str(certificate)}, "given together"),
                           ({"http.tls_certificate": str(certificate), "http.tls_key": str(key)}, "two.key"),
                           ({"http.tls_certificate": str(tmp_path / "none"), "http.tls_key": str(key)}, "none"),
                           ({"internal.tls_client_ca": str(certificate)}, "needs internal.tls_certificate")):
        server = doorstep(options, start=False)
        server.start(wait=False)
        assert server.process.wait(20) == 78
        assert words in server.log_path.read_text(), options


def test_many_come_and_go_by_tls(doorstep, tmp_path, authority):
    server = with_tls(doorstep, tmp_path, authority)
    context = trusting(authority)

    async def one(number):
        _, _, tab = await knock(server, make_token(f"user-{number % 20}"), tls=context)
        if number % 3 == 0:
            tab.vanish()
        elif number % 3 == 1:
            await tab.close()
        return tab

    async def scenario():
        tabs = await asyncio.gather(*(one(n) for n in range(90)))
        for tab in tabs:
            tab.vanish()

    run(scenario())
    wait_for(lambda: server.metrics()["doorstep_connections"] == 0)
    assert server.stop() == 0
