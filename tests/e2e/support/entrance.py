# SPDX-License-Identifier: Apache-2.0
"""Ways to knock at the public door, and what came of it."""
import asyncio
import json
import time

import websockets

from support.client import ENDED, Tab, close_code, objects, open_socket


async def knock(server, token=None, path="/v1/ws", headers=None, subprotocols=("doorstep.v1",), device="", **more):
    """@returns ("connected", its object, the tab), or (the close code, its reason, None), or (the HTTP status, "", None)."""
    try:
        socket = await open_socket(server.port, subprotocols, headers, path=path, **more)
    except websockets.InvalidHandshake as why:
        return getattr(why, "status_code", 0) or why.response.status_code, "", None
    try:
        request = {"device": device} | ({} if token is None else {"token": token})
        await socket.send(json.dumps({"id": 1, "connect": request}))
        while True:
            for x in objects(await asyncio.wait_for(socket.recv(), 10)):
                if "connected" in x:
                    tab = Tab(x["connected"]["user"])
                    tab.socket, tab.connected = socket, x["connected"]
                    return "connected", x["connected"], tab
    except ENDED as why:
        return close_code(why), why.rcvd.reason if getattr(why, "rcvd", None) else "", None


async def ending(tab, timeout=10):
    """@returns the code with which the server ends this session, and the reason."""
    try:
        while True:
            for x in objects(await asyncio.wait_for(tab.socket.recv(), timeout)):
                if not x:
                    await tab.socket.send("{}")
    except websockets.ConnectionClosed as why:
        return close_code(why), why.rcvd.reason


def wait_for(what, timeout=10):
    """Until `what()` is true."""
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def assert_secret(server, *texts):
    """None of these was written to the server's log."""
    log = server.log_path.read_text(errors="replace")
    for text in texts:
        assert text and text not in log, "a secret is in the log"
