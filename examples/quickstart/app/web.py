"""A web page on port 8000: every visit is counted in the store and becomes a job for the workers."""

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from store import ask


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            return self.reply({"store": ask("ping")})
        if self.path != "/":
            return self.send_error(404)
        visits = ask("count visits")
        ask(f"push greet visitor {visits}")
        return self.reply(json.loads(ask("read")))

    def reply(self, value):
        body = json.dumps(value, indent=2).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if self.path != "/health":
            print("web:", format % args, flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
print("web: listening on port 8000", flush=True)
ThreadingHTTPServer(("", 8000), Page).serve_forever()
