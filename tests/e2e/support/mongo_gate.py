# SPDX-License-Identifier: Apache-2.0
"""A gate before the stand-in for MongoDB, which knows neither users nor TLS: TLS and SCRAM-SHA-256 (RFC 5802 and 7677) by the standard library, so that the driver
is not asked about itself. Whoever has not proved its password gets nothing but the greeting."""
import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import threading

OP_MSG = 2013
ITERATIONS = 4096


def _name(raw, at):
    end = raw.index(b"\0", at)
    return raw[at:end].decode(), end + 1


def decode(raw, at=4):
    """BSON, as far as greetings and logins need it."""
    out = {}
    while raw[at]:
        kind, (name, at) = raw[at], _name(raw, at + 1)
        if kind == 0x02:
            size = struct.unpack_from("<i", raw, at)[0]
            out[name], at = raw[at + 4:at + 3 + size].decode(), at + 4 + size
        elif kind in (0x03, 0x04):
            size = struct.unpack_from("<i", raw, at)[0]
            out[name], at = decode(raw[at:at + size]), at + size
        elif kind == 0x05:
            size = struct.unpack_from("<i", raw, at)[0]
            out[name], at = raw[at + 5:at + 5 + size], at + 5 + size
        elif kind == 0x08:
            out[name], at = bool(raw[at]), at + 1
        elif kind == 0x0a:
            out[name] = None
        else:
            form = {0x01: "<d", 0x09: "<q", 0x10: "<i", 0x11: "<Q", 0x12: "<q"}[kind]
            out[name], at = struct.unpack_from(form, raw, at)[0], at + struct.calcsize(form)
    return out


def encode(what):
    body = b""
    for name, value in what.items():
        key = name.encode() + b"\0"
        if isinstance(value, bool):
            body += b"\x08" + key + bytes([value])
        elif isinstance(value, int):
            body += b"\x10" + key + struct.pack("<i", value)
        elif isinstance(value, float):
            body += b"\x01" + key + struct.pack("<d", value)
        elif isinstance(value, bytes):
            body += b"\x05" + key + struct.pack("<i", len(value)) + b"\0" + value
        else:
            body += b"\x02" + key + struct.pack("<i", len(value.encode()) + 1) + value.encode() + b"\0"
    return struct.pack("<i", len(body) + 5) + body + b"\0"


class Login:
    """The server's side of one SCRAM conversation."""

    def __init__(self, users):
        self.users = users
        self.first = self.nonce = self.user = ""
        self.salt = os.urandom(28)  # what MongoDB has, and the driver insists on

    def answer(self, payload):
        fields = dict(x.split("=", 1) for x in payload.decode().split(",") if "=" in x)
        if "n" in fields:
            bare = payload.decode().split(",", 2)[2]
            self.user = fields["n"].replace("=2C", ",").replace("=3D", "=")
            self.nonce = fields["r"] + base64.b64encode(os.urandom(18)).decode()
            reply = f"r={self.nonce},s={base64.b64encode(self.salt).decode()},i={ITERATIONS}"
            self.first = bare + "," + reply
            return reply.encode(), False
        salted = hashlib.pbkdf2_hmac("sha256", self.users.get(self.user, os.urandom(8).hex()).encode(), self.salt, ITERATIONS)
        sign = lambda key, text: hmac.new(key, text, hashlib.sha256).digest()
        said = (self.first + "," + payload.decode().rsplit(",p=", 1)[0]).encode()
        client = sign(salted, b"Client Key")
        proof = bytes(a ^ b for a, b in zip(client, sign(hashlib.sha256(client).digest(), said)))
        if fields["r"] != self.nonce or not hmac.compare_digest(proof, base64.b64decode(fields["p"])):
            return None, True
        return b"v=" + base64.b64encode(sign(sign(salted, b"Server Key"), said)), True


class Gate:
    """Listens on a port of its own before `port`. `tls` is a server's SSLContext, `users` {name: password}; without them everybody may come in."""

    def __init__(self, port, tls=None, users=None):
        self.to, self.tls, self.users = port, tls, users
        self.logins = self.refused = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            with client:
                client.settimeout(120)
                if self.tls:
                    client = self.tls.wrap_socket(client, server_side=True)
                with client, socket.create_connection(("127.0.0.1", self.to)) as server:
                    self.talk(client, server)
        except (OSError, EOFError, ValueError):
            pass

    def talk(self, client, server):
        login, trusted = Login(self.users), self.users is None
        while True:
            request = message(client)
            number, kind = struct.unpack_from("<i", request, 4)[0], struct.unpack_from("<i", request, 12)[0]
            command = decode(request[21:]) if kind == OP_MSG and not trusted and request[20] == 0 else {}
            verb = next(iter(command), "")
            if trusted or kind != OP_MSG or verb.lower() in ("hello", "ismaster"):
                server.sendall(request)
                client.sendall(message(server))
                continue
            if verb in ("saslStart", "saslContinue") and command.get("mechanism", "SCRAM-SHA-256") == "SCRAM-SHA-256":
                payload, done = login.answer(command["payload"])
                if payload is not None:
                    trusted = done
                    self.logins += done
                    reply = {"conversationId": 1, "done": done, "payload": payload, "ok": 1.0}
                else:
                    self.refused += 1
                    reply = {"ok": 0.0, "errmsg": "Authentication failed.", "code": 18, "codeName": "AuthenticationFailed"}
            else:
                self.refused += 1
                reply = {"ok": 0.0, "errmsg": f"command {verb} requires authentication", "code": 13, "codeName": "Unauthorized"}
            body = struct.pack("<I", 0) + b"\0" + encode(reply)
            client.sendall(struct.pack("<iiii", 16 + len(body), 1, number, OP_MSG) + body)


def exactly(source, size):
    out = b""
    while len(out) < size:
        got = source.recv(size - len(out))
        if not got:
            raise EOFError
        out += got
    return out


def message(source):
    head = exactly(source, 4)
    return head + exactly(source, struct.unpack("<i", head)[0] - 4)
