"""Run in a container: what processes that are not yet what they will be show of themselves."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

capable = sys.argv[1:] == ["capable"]
mine = {os.getpid()}
found: dict[str, Any] = {"seen": 0, "fds": [], "writable": [], "held": [], "refused": {}}
begun = time.monotonic()
# Nobody may have been on its way in so far, and what is there cannot be looked at by all.
while (passed := time.monotonic() - begun) < 1.5 or (
    passed < 30 and not (found["seen"] and (capable or "EACCES" in found["refused"]))
):
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) in mine:
            continue
        try:
            command = Path(f"/proc/{name}/comm").read_text().strip()
            if command not in ("composer-keeper", "composer-shim", "python3", "python"):
                continue
            lines = Path(f"/proc/{name}/status").read_text().splitlines()
            held = dict(line.split(":", 1) for line in lines)
            found["held"].append([int(held["CapPrm"], 16), int(held["CapBnd"], 16), int(held["Seccomp"])])
            found["seen"] += 1
            for fd in os.listdir(f"/proc/{name}/fd"):
                path = f"/proc/{name}/fd/{fd}"
                target = os.readlink(path)
                is_own = target.startswith("/") and os.path.samefile(path, target)
                still = (
                    os.readlink(path) == target and Path(f"/proc/{name}/comm").read_text().strip() == command
                )
                if not is_own and still:  # the same descriptor, and not of the program that it has become
                    found["fds"].append(target.partition(":")[0])
        except OSError as problem:
            refused = errno.errorcode[problem.errno]
            found["refused"][refused] = found["refused"].get(refused, 0) + 1
        try:
            os.close(os.open(f"/proc/{name}/exe", os.O_WRONLY))
            found["writable"].append(command)
        except OSError:
            pass
for key in ("fds", "writable", "held"):
    found[key] = list({str(value): value for value in found[key]}.values())
print(json.dumps(found))
