# SPDX-License-Identifier: Apache-2.0
"""A web server that others are asked to trust: it answers as the test says, and remembers what it was asked."""
import http.server
import json
import threading
import time


class Web:
    """`answer` is called with the request's body (None for a GET) and returns a status and a body, which is JSON unless it is text or bytes."""

    def __init__(self, answer=None, port=0):
        self.answer = answer or (lambda body: (200, {}))
        self.delay = 0
        self.content_type = "application/json"
        self.pace = 0          # seconds between one byte and the next
        self.cut = 0           # bytes of the body that are promised and never sent
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self):
                size = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(size)) if size else None
                outer.asked.append((body, dict(self.headers)))
                time.sleep(outer.delay)
                status, what = outer.answer(body)
                data = what if isinstance(what, bytes) else (what if isinstance(what, str) else json.dumps(what)).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", outer.content_type)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    if outer.cut:
                        self.close_connection = True
                        data = data[:-outer.cut]
                    for at in range(0, len(data), 1 if outer.pace else max(len(data), 1)):
                        time.sleep(outer.pace)
                        self.wfile.write(data[at:at + 1] if outer.pace else data)
                except OSError:
                    self.close_connection = True  # whoever asked has given up

            do_GET = do_POST = respond

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/asked"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
