"""Takes jobs from the store, one after the other, and counts what it has done under its own name."""

import signal
import socket
import sys

from store import ask

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
name = socket.gethostname()
print(f"worker {name}: waiting for jobs", flush=True)
while True:
    try:
        job = ask("pop")
    except OSError as error:
        sys.exit(f"worker {name}: the store does not answer: {error}")
    if job:
        print(f"worker {name}: {job}", flush=True)
        ask(f"count jobs done by {name}")
