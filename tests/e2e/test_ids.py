# SPDX-License-Identifier: Apache-2.0
"""Ids of recipients as people and programs make them (docs/protocol.md, Ids): a good one is good at every door, a bad one at none, and no two are one."""
import hashlib
import hmac
import json
import re
import socket
import subprocess
import urllib.parse

import pytest

from support.client import Tab, run
from support.entrance import knock, wait_for
from support.keys import base64url
from support.server import API_KEY, run_doorstep
from support.tokens import SECRET, make_token

GOOD = ["a b", " a b", "a b ", "a/b", "a%2Fb", "..", ".", "/", "say \"x\"", "it's", "back\\slash", "a,b", "[1]", "[\"a\"]", "{x}", "a:b", "user:alice", "all", "role:admin",
        "\U0001f680", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "caf\u00e9", "cafe\u0301", "ALICE", "alice", "<script>alert(1)</script>", "?x=1&y#z", "a+b", "a%00b", "%s%n",
        "-1", "null", "true", "42", "\u202egnp.exe", "a\u2028b", "'; DROP TABLE messages; --", "$where", "a.b$c", "x" * 512, "\u00e9" * 256, "\U0001f680" * 128]
BAD = {"empty": "", "four kilobytes": "x" * 4096, "a byte too long": "x" * 513, "a byte too long in two": "\u00e9" * 256 + "x", "NUL": "a\0b", "line break": "a\nb",
       "carriage return": "a\rb", "tab": "\ta", "escape": "a\x1b[31mb", "delete": "a\x7f", "C1": "a\u0085b"}
RULES = """
[[routes]]
name = "listed"
match.type = "listed"
to = "users:{/data/to}"
[[routes]]
name = "one"
match.type = "one"
to = "user:{/data/to}"
[[routes]]
name = "channel"
match.type = "channel"
to = "group:{/data/to}"
[[routes]]
name = "named"
to = "touser"
"""


def event(number, kind, **more):
    return {"specversion": "1.0", "id": str(number), "source": "/ids", "type": kind} | more


def with_rules(doorstep, sources=(), options=None):
    server = doorstep(options, sources, start=False)
    server.routes = RULES
    return server.start()


def quoted(user):
    return urllib.parse.quote(user, safe="")


def mailbox(server, user):
    return server.get(f"/v1/mailboxes/{quoted(user)}")


def test_every_good_id_is_one_user_whichever_way_it_is_named(doorstep):
    assert len(set(GOOD)) == len(GOOD)
    server = with_rules(doorstep)
    server.publish(event("list", "listed", data={"to": GOOD}))
    server.publish(event("array", "named", touser=GOOD))
    for number, user in enumerate(GOOD):
        server.publish(event(f"one-{number}", "one", data={"to": user, "n": number}))

    async def scenario():
        for number, user in enumerate(GOOD):
            tab = await Tab.open(server, user)
            assert tab.connected["user"] == user and list(tab.connected["addresses"]) == [f"user:{user}"]
            got = await tab.messages(3)
            assert [m["event_id"] for m in got] == ["list", "array", f"one-{number}"], user
            assert {m["address"] for m in got} == {f"user:{user}"}
            await tab.send({"id": 5, "ack": {"up_to": {f"user:{user}": got[-1]["seq"]}}})
            receipt = (await tab.next())["receipt"]["up_to"]
            assert list(receipt) == [f"user:{user}"] and receipt[f"user:{user}"] >= got[-1]["seq"]
            looked = mailbox(server, user)
            assert (looked.status, looked.json()["user"], looked.json()["sessions"], looked.json()["in_flight"]) == (200, user, 1, []), user
            reply = server.request("POST", "/v1/admin/disconnect", json.dumps({"user": user}))
            assert (reply.status, reply.json()) == (200, {"disconnected": 1}), user
            letters = server.get(f"/v1/dead-letters?user={quoted(user)}")
            assert (letters.status, letters.json()["dead_letters"]) == (200, []), user

    run(scenario(), 120)
    for user in ("say \"x\"", "a/b", "\U0001f680", "?x=1&y#z", "a+b"):
        done = run_doorstep("dead-letters", "list", "--user", user, "--url", f"http://127.0.0.1:{server.internal_port}", "--api-key", API_KEY)
        assert done.returncode == 0 and json.loads(done.stdout)["dead_letters"] == [], done.stderr
    server.kill()
    server.start()

    async def nothing_is_owed():
        for user in GOOD:
            tab = await Tab.open(server, user)
            assert tab.connected["addresses"][f"user:{user}"] > 0 and mailbox(server, user).json()["owed"] == 0, user
            await tab.close()

    run(nothing_is_owed(), 60)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_id_is_refused_at_every_door_with_the_reason_and_the_server_goes_on(doorstep, name):
    user = BAD[name]
    server = with_rules(doorstep)
    attempts = [event(1, "listed", data={"to": ["alice", user]}), event(2, "one", data={"to": user}), event(3, "channel", data={"to": user}), event(4, "named", touser=["alice", user]),
                event(5, "named", touser=f"alice,{user}")]
    for one in attempts:
        reply = server.post_events(one)
        assert reply.status == 400 and reply.json()["code"] == "malformed", (one["id"], reply.body)
        assert "recipient id" in reply.json()["detail"] or "control character" in reply.json()["detail"], reply.body
        assert len(reply.body) < 1000, "what is wrong is not sent back whole"
    reply = server.request("POST", "/v1/events", "", {"ce-specversion": "1.0", "ce-id": "6", "ce-source": "/ids", "ce-type": "named", "ce-touser": f"alice,{quoted(user)}"})
    assert reply.status == 400, reply.body
    assert mailbox(server, "alice").json()["owed"] == 0, "an event is taken whole or not at all"
    for path in (f"/v1/mailboxes/{quoted(user)}", f"/v1/dead-letters?user={quoted(user)}"):
        assert server.get(path).status == (400 if user or "?" in path else 404), path
    for body in ({"user": user}, {"role": user}, {"group": user, "deny_for": "1h"}):
        assert server.request("POST", "/v1/admin/disconnect", json.dumps(body)).status == 400, body
    assert server.request("POST", "/v1/tickets", json.dumps({"user": user})).status == 400
    if "\0" not in user:
        done = run_doorstep("dead-letters", "purge", "--user", user, "--url", f"http://127.0.0.1:{server.internal_port}", "--api-key", API_KEY)
        assert done.returncode != 0

    async def scenario():
        assert (await knock(server, make_token(user)))[0] == 3500
        if user:
            assert (await knock(server, make_token("bob", roles=[user])))[0] == 3500
            assert (await knock(server, make_token("bob", groups=[user])))[0] == 3500
        tab = await Tab.open(server, "alice")
        for what in ({"ack": {"up_to": {f"user:{user}": 1}}}, {"history": {"address": f"user:{user}"}}, {"subscribe": {"address": f"topic:{user}"}}, {"read": {"seqs": {f"user:{user}": [1]}}}):
            await tab.send({"id": 7} | what)
            assert (await tab.next())["error"]["code"] in ("malformed", "forbidden"), what
        await tab.nothing("message", 0.1)

    run(scenario())
    every_line_is_one(server)


def every_line_is_one(server):
    """Whatever was sent, each line of the log begins with its time and holds no byte that a terminal would obey."""
    raw = server.log_path.read_bytes()
    text = raw.decode()  # UTF-8 whatever came
    for line in text.splitlines():  # also at U+0085 and U+2028
        assert re.match(r"\d{4}-\d\d-\d\dT[0-9:.]+Z [A-Z]+ ", line) or " mongoc: " in line, line
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", text)


def test_bytes_that_are_no_utf8_and_halves_of_characters_are_refused_everywhere(doorstep):
    server = with_rules(doorstep)
    headers = {"Content-Type": "application/cloudevents+json"}
    for broken in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80", b"\\ud800", b"\\udc00\\ud800", b"\\ud800x"):
        for member in (b'"data":{"to":["alice","a%sb"]},"type":"listed"', b'"data":{"to":"a%sb"},"type":"one"', b'"touser":"alice,a%sb","type":"named"',
                       b'"touser":["a%sb"],"type":"named"', b'"touser":"[\\"a%sb\\"]","type":"named"'):
            body = b'{"specversion":"1.0","id":"1","source":"/ids",' + member % broken + b"}"
            assert server.request("POST", "/v1/events", body, headers).status == 400, body
        for path in ("/v1/admin/disconnect", "/v1/tickets"):
            assert server.request("POST", path, b'{"user":"a%sb"}' % broken).status == 400, (path, broken)
        payload = b'{"sub":"a%sb","exp":1999999999}' % broken
        assert run(knock(server, signed(payload)))[0] == 3500, broken
    for path in ("%FF", "%C3", "%ED%A0%80", "%00", "a%0Ab", "%", "%zz", ""):
        for where in (f"/v1/mailboxes/{path}", f"/v1/dead-letters?user={path}", f"/v1/dead-letters/{path}"):
            assert raw_status(server, where) in (400, 404), where
    assert raw_status(server, b"/v1/mailboxes/\xc3\xa9") == 400
    assert mailbox(server, "alice").json()["owed"] == 0
    every_line_is_one(server)
    assert server.ready_status() == 200


def signed(payload):
    """A good signature under a payload of any bytes."""
    text = base64url(b'{"alg":"HS256","typ":"JWT"}') + "." + base64url(payload)
    return text + "." + base64url(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest())


def raw_status(server, path):
    """What http.client would not send."""
    path = path if isinstance(path, bytes) else path.encode()
    with socket.create_connection(("127.0.0.1", server.internal_port), timeout=10) as plain:
        plain.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + API_KEY.encode() + b"\r\nConnection: close\r\n\r\n")
        answer = b""
        while got := plain.recv(65536):
            answer += got
    answer.decode()
    return int(answer.split(b" ", 2)[1])


def test_an_audit_line_holds_what_was_asked_whatever_that_was(doorstep):
    server = doorstep()
    for reason in ("x\n2026-01-01T00:00:00.000Z AUDIT audit forged who=root", "\x1b[2J", "\u009b31m", "a\u2028b", "\u00e9" * 255, "x" + "\u00e9" * 400, "\U0001f680" * 200):
        server.request("POST", "/v1/admin/disconnect", json.dumps({"user": "alice", "reason": reason}, ensure_ascii=False).encode())
    server.request("POST", "/v1/admin/disconnect", b'{"user":"\xff\xfe\x00')
    every_line_is_one(server)
    lines = [line for line in server.log_path.read_text().splitlines() if " AUDIT " in line]
    assert len(lines) == 8 and not any("forged who=root" in line.split('what="')[0] for line in lines)


def test_records_with_bad_ids_become_dead_letters_that_say_why_and_what_follows_is_delivered(doorstep, kafka):
    topic, plain = kafka.make_topic(1), kafka.make_topic(1, "plain")
    sources = [kafka.source(topic, f"g-{topic}"), kafka.source(plain, f"g-{plain}", format="json", recipient_pointer="/to", instance_id="plain")]
    server = doorstep(None, sources)
    bad = [user for user in BAD.values() if user]
    kafka.produce(topic, [("k", event(n, "named", touser=["alice", user])) for n, user in enumerate(bad)])
    lines = [b'{"to":"a\\ud800b"}', b'{"to":["\xff"]}', b'{"to":1.5}', b'{"to":{"id":1}}', b'{"to":[["a"]]}', b'{"to":true}']
    lines += [json.dumps({"to": user}).encode() for user in bad]
    sent = subprocess.run(["kcat", "-P", "-b", kafka.address, "-t", plain, "-X", "acks=all"], input=b"\n".join(lines), capture_output=True, timeout=60, check=False)
    assert sent.returncode == 0, sent.stderr
    # Headers, and keys that name the recipient, are bytes too.
    for headers in ([b"ce_specversion=1.0", b"ce_id=1", b"ce_source=/x", b"ce_type=t", b"ce_touser=a\xffb"], [b"ce_specversion=1.0", b"ce_\xff\x1b=x"],
                    [b"ce_specversion=1.0", b"ce_id=2", b"ce_source=/x", b"ce_type=t", b"ce_n\xc3\xa9=1"], [b"content-type=application/cloudevents+xml\xff"]):
        command = ["kcat", "-P", "-b", kafka.address, "-t", topic, "-X", "acks=all"] + [x for header in headers for x in (b"-H", header)]
        assert subprocess.run(command, input=b"x", capture_output=True, timeout=60, check=False).returncode == 0
    for key in (b"\xff\xfe", b"k" * 4096, b"\x01"):
        command = ["kcat", "-P", "-b", kafka.address, "-t", plain, "-K", ":", "-X", "acks=all"]
        assert subprocess.run(command, input=key + b":{}\n", capture_output=True, timeout=60, check=False).returncode == 0
    kafka.produce(topic, [("k", event("last", "named", touser="alice"))])
    kafka.produce(plain, [("k", {"to": "alice"})], headers=())
    count = len(bad) + len(lines) + 4 + 3

    async def scenario():
        tab = await Tab.open(server, "alice")
        assert {m["event_id"] for m in await tab.messages(2, 30)} == {"last", f"{plain}/0/{len(lines) + 3}"}
        await tab.nothing("message", 0.3)

    wait_for(lambda: server.metrics()["doorstep_records_malformed_total"] == count, 30)
    run(scenario())
    wait_for(lambda: len(server.dead_letters()) == count)
    letters = server.dead_letters()
    assert {x["reason"] for x in letters} == {"malformed"}
    for letter in letters:
        assert letter["detail"] and len(letter["detail"]) < 1000, letter["detail"][:200]
        assert server.get("/v1/dead-letters/" + quoted(letter["id"])).json()["id"] == letter["id"]
    assert sum("recipient id" in x["detail"] or "control character" in x["detail"] for x in letters) >= 2 * len(bad)
    every_line_is_one(server)
    server.kill()
    server.start()
    assert len(server.dead_letters()) == count
