"""What people see when something is wrong: the place, the reason, what to do, and the exit status."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, free_port, wait_for


def test_an_unknown_attribute_is_shown_where_it_stands(composer: Composer, project: Project) -> None:
    directory = project.write("services:\n  web:\n    image: composer.local/host\n    comand: sleep 1\n")
    done = composer.run("up", "-d", cwd=directory, status=1)
    assert "compose.yaml:4:5" in done.stderr
    assert "comand: sleep 1" in done.stderr
    assert "command" in done.stderr.replace("comand: sleep 1", "")
    assert "Traceback" not in done.stderr


def test_no_file(composer: Composer, project: Project) -> None:
    project.directory.mkdir()
    done = composer.run("up", "-d", cwd=project.directory, status=1)
    assert "no configuration file provided: not found" in done.stderr


def test_a_dependency_cycle(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  a: {image: composer.local/host, depends_on: [b]}
  b: {image: composer.local/host, depends_on: [a]}
""")
    done = composer.run("up", "-d", cwd=directory, status=None)
    assert done.returncode != 0
    assert "cycle" in done.stderr and "a" in done.stderr and "b" in done.stderr


def test_a_taken_port_names_the_service_and_the_port(composer: Composer, project: Project) -> None:
    port = free_port()  # and not one that somebody else is given when it is free again
    with socket.create_server(("127.0.0.1", port)):
        directory = project.write(f"""
services:
  web:
    image: composer.local/host
    command: sleep infinity
    ports: ["127.0.0.1:{port}:80"]
""")
        done = composer.run("up", "-d", cwd=directory, status=1)
        assert str(port) in done.stderr
        assert "compose.yaml:6:13: services.web.ports[0]: starting" in done.stderr
    # Free again: the same command works.
    composer.run("up", "-d", cwd=directory)
    composer.run("down", cwd=directory)


def test_a_command_that_is_not_there(composer: Composer, project: Project) -> None:
    directory = project.write("services: {web: {image: composer.local/host, command: no-such-program}}")
    done = composer.run("up", "-d", cwd=directory, status=None)
    assert done.returncode != 0
    assert "no-such-program" in done.stderr
    assert "compose.yaml:1:55: services.web.command: " in done.stderr
    assert "Traceback" not in done.stderr
    composer.run("down", cwd=directory)


def test_a_healthcheck_whose_program_the_image_lacks_is_told_of(composer: Composer, project: Project) -> None:
    check = "healthcheck: {test: no-such-probe -f http://localhost || exit 1, start_period: 1h}"
    directory = project.write(f"""
services:
  web: {{image: composer.local/host, command: sleep infinity, {check}}}
  tools:
    image: composer.local/host
    command: sleep infinity
    volumes: [./tools:/usr/local/bin]
    {check}
  told:
    image: composer.local/host
    command: sleep infinity
    x-composer: {{silence: [missing-program]}}
    {check}
  fine: {{image: composer.local/host, command: sleep infinity, healthcheck: {{test: "ls / || exit 1"}}}}
""")
    done = composer.run("up", "-d", cwd=directory)
    warnings = [line for line in done.stderr.splitlines() if "missing-program" in line]
    assert len(warnings) == 1 and "services.web.healthcheck" in warnings[0] and "no-such-probe" in warnings[0]
    assert "missing-program" not in composer.run("up", "-d", cwd=directory).stderr, "nothing is made anew"
    composer.run("down", "-t", "0", cwd=directory)


def test_an_image_that_cannot_be_had(composer: Composer, project: Project) -> None:
    directory = project.write("services: {web: {image: '127.0.0.1:1/nothing:1'}}")
    done = composer.run("up", "-d", cwd=directory, status=None)
    assert done.returncode != 0
    assert "compose.yaml:1:25: services.web.image: pulling 127.0.0.1:1/nothing:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bind_source_that_is_missing(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  web:
    image: composer.local/host
    volumes: [{type: bind, source: ./missing, target: /data, bind: {create_host_path: false}}]
""")
    done = composer.run("up", "-d", cwd=directory, status=None)
    assert done.returncode != 0
    assert str(directory / "missing") in done.stderr
    composer.run("down", cwd=directory)


def test_what_is_not_supported_is_refused(composer: Composer, project: Project) -> None:
    directory = project.write("services: {web: {image: composer.local/host, gpus: all}}")
    done = composer.run("up", "-d", cwd=directory, status=None)
    assert done.returncode != 0
    assert "compose.yaml:1:46: services.web.gpus: " in done.stderr


def test_an_unknown_command_suggests_the_nearest(composer: Composer) -> None:
    done = composer.run("upp", status=None)
    assert done.returncode != 0
    assert "did you mean up?" in done.stderr


def test_exit_codes_of_what_ran(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  tests: {image: composer.local/host, command: sh -c 'echo testing; exit 7', depends_on: [web]}
  web: {image: composer.local/host, command: sleep infinity}
""")
    done = composer.run("up", "--exit-code-from", "tests", cwd=directory, status=7)
    assert "testing" in done.stdout
    assert composer.run("run", "--rm", "web", "sh", "-c", "exit 9", cwd=directory, status=9).stdout == ""
    composer.run("up", "-d", "web", cwd=directory)
    composer.run("exec", "-T", "web", "sh", "-c", "exit 11", cwd=directory, status=11)
    composer.run("exec", "-T", "web", "no-such-program", cwd=directory, status=127)
    composer.run("down", cwd=directory)


def test_starts_that_are_cut_short_leave_nothing_open(composer: Composer, project: Project) -> None:
    """One service cannot start; those that start beside it are ended by `down` and let go of everything."""
    others = "".join(f"  s{n}: {{image: composer.local/host, command: sleep 1000}}\n" for n in range(4))
    directory = project.write(
        f"services:\n  bad: {{image: composer.local/host, command: sleep 1000, user: nobody-of-that-name}}\n{others}"
    )

    def cycle() -> int:
        composer.run("up", "-d", cwd=directory, status=1)
        composer.run("down", "-t", "0", cwd=directory)
        return open_descriptors()

    def open_descriptors() -> int:
        (core,) = composer.processes("composer-core")
        return len(os.listdir(f"/proc/{core}/fd"))

    first = cycle()
    for _ in range(4):
        cycle()
    # A connection may still be closing; a leak is one each time.
    wait_for(lambda: open_descriptors() <= first + 1, "descriptors to be given back")


def test_a_background_job_of_a_shell_can_be_interrupted(composer: Composer, project: Project) -> None:
    """Shells start them with SIGINT ignored."""
    directory = project.write("services: {web: {image: composer.local/host, command: sleep 1000}}")
    composer.run("up", "-d", cwd=directory)

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    waiting = composer.start("wait", "web", cwd=directory, preexec_fn=ignore)

    def is_caught() -> bool:
        status = Path(f"/proc/{waiting.pid}/status").read_text()
        (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught, 16) >> (signal.SIGINT - 1) & 1)

    wait_for(is_caught, "the command to have begun")
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(60) == 130
    waiting.communicate()
    composer.run("down", "-t", "0", cwd=directory)


def test_what_is_started_again_and_again_is_not_ready(composer: Composer, project: Project) -> None:
    """``--wait`` takes neither a moment between two ends for running, nor one bad start for a failure."""
    looping = "image: composer.local/host, restart: always, command: sh -c 'echo no database; exit 3'"
    late = "image: composer.local/host, restart: always, volumes: ['vol:/v'], "
    late += (
        "command: sh -c 'test -e /v/2 && exec sleep infinity; test -e /v/1 && touch /v/2; touch /v/1; exit 3'"
    )
    directory = project.write(f"services: {{late: {{{late}}}}}\nvolumes: {{vol: {{}}}}\n")
    composer.run("up", "-d", "--wait", cwd=directory)
    assert composer.inspect(f"{project.name}-late-1")["RestartCount"] == 2
    composer.run("down", "-v", "-t", "0", cwd=directory)
    project.write(f"services: {{looping: {{{looping}}}}}\n")
    failed = composer.run("up", "-d", "--wait", cwd=directory, status=1)
    assert "ends again and again, the last time with 3" in failed.stderr
    assert "no database" in failed.stderr
    composer.run("down", "-t", "0", cwd=directory)


def test_ports_that_others_hold_are_told_all_together(composer: Composer, project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [server.getsockname()[1] for server in (one, two)]
        a, b = (
            f'{{image: composer.local/host, command: sleep infinity, ports: ["127.0.0.1:{port}:80"]}}'
            for port in ports
        )
        directory = project.write(f"services:\n  a: {a}\n  b: {b}\n")
        told = composer.run("up", "-d", cwd=directory, status=1).stderr
    failed = [service for service in "ab" if f"Container {project.name}-{service}-1  Error" in told]
    assert failed  # the first one ends the command: it may be over before the other has begun
    for number, (service, port) in enumerate(zip("ab", ports, strict=True), 2):
        if service not in failed:
            continue
        assert f"compose.yaml:{number}:" in told and f"{port} failed: port is already allocated" in told
        assert told.count(f"services.{service}.ports[0]") == 1
    composer.run("down", "-t", "0", cwd=directory)
