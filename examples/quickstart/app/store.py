"""A key-value store on TCP port 6400: a line with a command, a line with the answer. Keeps its data in /data.

    count NAME        add one, answer the sum
    read              all counters, as JSON
    push TEXT         put a job into the queue
    pop               wait up to 30 s for a job; an empty line when there is none
    ping

`python3 store.py` serves; `python3 store.py COMMAND...` asks the store at $STORE and prints its answer.
"""

import json
import os
import queue
import signal
import socket
import socketserver
import sys
import threading

DATA = "/data/counters.json"

counters = {}
jobs = queue.Queue()
lock = threading.Lock()


def answer(line):
    command, _, text = line.partition(" ")
    if command == "count":
        with lock:
            counters[text] = counters.get(text, 0) + 1
            save()
            return str(counters[text])
    if command == "read":
        return json.dumps(counters)
    if command == "push":
        jobs.put(text)
        return "ok"
    if command == "pop":
        try:
            return jobs.get(timeout=30)
        except queue.Empty:
            return ""
    return "pong" if command == "ping" else "what?"


def save():
    with open(DATA + ".new", "w") as file:
        json.dump(counters, file)
    os.replace(DATA + ".new", DATA)


def ask(line):
    """Send one command to the store at $STORE (default: this container) and return its answer."""
    host, _, port = os.environ.get("STORE", "127.0.0.1:6400").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(line.encode() + b"\n")
        return connection.makefile().readline().strip()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(answer(line.decode().strip()).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if os.path.exists(DATA):
        with open(DATA) as file:
            counters.update(json.load(file))
    print(f"store: {len(counters)} counters, listening on port 6400", flush=True)
    with Server(("", 6400), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(ask(" ".join(sys.argv[1:])))
    else:
        main()
