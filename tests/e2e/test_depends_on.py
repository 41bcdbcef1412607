"""Order and readiness: conditions, one-shots, what follows a dependency, and how soon."""

from __future__ import annotations

import itertools
from datetime import datetime

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for


def moment(text: str) -> float:
    """Seconds since the epoch of Docker's time stamps."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def started(composer: Composer, name: str) -> float:
    return moment(composer.inspect(name)["State"]["StartedAt"])


def test_a_gated_service_waits_for_health(composer: Composer, project: Project) -> None:
    """The gate opens when the service listens, not when the interval is over."""
    directory = project.write("""
services:
  db:
    image: composer.local/host
    command:
      - python3
      - -c
      - |
        import socket, time
        time.sleep(0.7)
        before = time.time()
        server = socket.create_server(("", 5432))
        print(before, flush=True)
        time.sleep(1000)
    healthcheck:
      test: [CMD, python3, -c, "import socket; socket.create_connection(('127.0.0.1', 5432))"]
      interval: 3m
  app:
    image: composer.local/host
    command: sleep infinity
    depends_on:
      db: {condition: service_healthy}
""")
    composer.run("up", "-d", "--wait", cwd=directory, timeout=170)
    listening = float(composer.run("logs", "--no-log-prefix", "db", cwd=directory).stdout)
    gap = started(composer, f"{project.name}-app-1") - listening
    assert 0 < gap < 60, f"{gap:.3f} s from listening to the dependent's start"
    composer.run("down", cwd=directory)


def test_a_hook_that_fails_is_told_with_what_it_wrote(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  app:
    image: composer.local/host
    command: sleep infinity
    post_start: [{command: [sh, -c, "echo no such table >&2; exit 3"]}]
""")
    failed = composer.run("up", "-d", cwd=directory, status=1)
    assert f"post_start hook of {project.name}-app-1 exited with status 3: sh -c" in failed.stderr
    assert "\n  no such table\n" in failed.stderr
    composer.run("down", "-t", "0", cwd=directory)


def test_a_one_shot_has_to_succeed(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  migrate:
    image: composer.local/host
    command: sh -c 'sleep 0.3; echo migrated'
  app:
    image: composer.local/host
    command: sleep infinity
    depends_on:
      migrate: {condition: service_completed_successfully}
""")
    composer.run("up", "-d", "--wait", cwd=directory)
    finished = moment(composer.inspect(f"{project.name}-migrate-1")["State"]["FinishedAt"])
    assert started(composer, f"{project.name}-app-1") >= finished
    composer.run("down", cwd=directory)


def test_a_failing_one_shot_ends_the_wait(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  migrate:
    image: composer.local/host
    command: sh -c 'echo relation products does not exist >&2; exit 3'
  app:
    image: composer.local/host
    command: sleep infinity
    depends_on:
      migrate: {condition: service_completed_successfully}
""")
    done = composer.run("up", "-d", "--wait", cwd=directory, status=1)
    assert "migrate" in done.stderr and "didn't complete successfully: exit 3" in done.stderr
    assert "relation products does not exist" in done.stderr
    states = {found["Names"][0]: found["State"] for found in composer.containers()}
    assert states.get(f"/{project.name}-app-1", "created") == "created"
    composer.run("down", cwd=directory)


def test_an_unhealthy_dependency_ends_the_wait(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  db:
    image: composer.local/host
    command: sh -c 'echo no space left on device; exec sleep infinity'
    healthcheck: {test: "false", interval: 100ms, retries: 2}
  app:
    image: composer.local/host
    command: sleep infinity
    depends_on:
      db: {condition: service_healthy}
""")
    done = composer.run("up", "-d", cwd=directory, status=1)
    assert f"{project.name}-db-1 is unhealthy" in done.stderr
    assert "no space left on device" in done.stderr
    composer.run("down", "-t", "0", cwd=directory)


def test_a_dependency_that_is_not_required(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  extra:
    image: composer.local/host
    command: "false"
  app:
    image: composer.local/host
    command: sleep infinity
    depends_on:
      extra: {condition: service_completed_successfully, required: false}
""")
    composer.run("up", "-d", cwd=directory)
    assert composer.inspect(f"{project.name}-app-1")["State"]["Status"] == "running"
    composer.run("down", cwd=directory)


def test_a_restart_is_followed(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  db:
    image: composer.local/host
    command: sleep infinity
  follows:
    image: composer.local/host
    command: sleep infinity
    depends_on:
      db: {condition: service_started, restart: true}
  stays:
    image: composer.local/host
    command: sleep infinity
    depends_on: [db]
""")
    composer.run("up", "-d", cwd=directory)
    before = {name: started(composer, f"{project.name}-{name}-1") for name in ("db", "follows", "stays")}
    composer.run("restart", "db", cwd=directory)
    after = {name: started(composer, f"{project.name}-{name}-1") for name in before}
    assert after["db"] > before["db"]
    assert after["follows"] > after["db"]
    assert after["stays"] == before["stays"]
    composer.run("down", cwd=directory)


def test_wide_and_deep(composer: Composer, project: Project) -> None:
    """Four levels of five services each, every one depending on all of the level above."""
    parts = ["services:"]
    for level in range(4):
        for number in range(5):
            parts.append(f"  s{level}{number}:\n    image: composer.local/host\n    command: sleep infinity")
            if level:
                parts.append(f"    depends_on: [{', '.join(f's{level - 1}{n}' for n in range(5))}]")
    directory = project.write("\n".join(parts))
    composer.run("up", "-d", "--wait", cwd=directory)
    times = [[started(composer, f"{project.name}-s{level}{n}-1") for n in range(5)] for level in range(4)]
    for earlier, later in itertools.pairwise(times):
        assert max(earlier) <= min(later)
    composer.run("down", cwd=directory)


def test_an_attached_up_shows_logs_while_it_waits_and_one_shots_do_not_abort_it(
    composer: Composer, project: Project
) -> None:
    directory = project.write("""
services:
  db:
    image: composer.local/host
    command: [sh, -c, "echo starting; sleep 0.5; touch /ready; echo up; exec sleep 1000"]
    healthcheck: {test: test -f /ready, interval: 100ms, retries: 100}
  migrate:
    image: composer.local/host
    command: [sh, -c, "echo migrated"]
    depends_on: {db: {condition: service_healthy}}
  test:
    image: composer.local/host
    command: [sh, -c, "echo tested; exit 3"]
    depends_on: {migrate: {condition: service_completed_successfully}}
""")
    refused = composer.run("up", "--attach", "test", "db", cwd=directory, status=1)
    assert refused.stderr == "cannot attach to services not included in up: test\n"
    done = composer.run("up", "--abort-on-container-exit", cwd=directory, status=3)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Attaching to db-1, migrate-1, test-1")
    shown = [" ".join(line.split()) for line in lines[1:]]
    assert (
        shown.index("db-1 | starting") < shown.index("migrate-1 | migrated") < shown.index("test-1 | tested")
    )
    assert "test-1 exited with code 3" in shown


def test_a_one_off_waits_for_what_it_needs(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  fails: {image: composer.local/host, command: [sh, -c, "echo no; exit 3"]}
  test: {image: composer.local/host, depends_on: {fails: {condition: service_completed_successfully}}}
  off: {image: composer.local/host, command: sleep 1000, profiles: [off]}
  easy: {image: composer.local/host, depends_on: {off: {condition: service_started, required: false}}}
""")
    failed = composer.run("run", "--rm", "test", "echo", "ran", cwd=directory, status=1)
    assert failed.stdout == ""
    assert f"container {project.name}-fails-1 didn't complete successfully: exit 3" in failed.stderr
    assert composer.run("run", "--rm", "--no-deps", "test", "echo", "ran", cwd=directory).stdout == "ran\n"
    assert composer.run("run", "--rm", "easy", "echo", "ran", cwd=directory).stdout == "ran\n"
    assert {container["Labels"]["com.docker.compose.service"] for container in composer.containers()} == {
        "fails"
    }
    project.write("services: {other: {image: composer.local/host}}")
    gone = composer.run("run", "--rm", "--remove-orphans", "other", "true", cwd=directory)
    assert f"Container {project.name}-fails-1  Removed" in gone.stderr
    composer.run("down", cwd=directory)


def test_down_ends_an_up_that_waits(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  db: {image: composer.local/host, command: sleep 1000, healthcheck: {test: "false", interval: 1m}}
  web: {image: composer.local/host, command: sleep 1000, depends_on: {db: {condition: service_healthy}}}
""")
    up = composer.start("up", "-d", cwd=directory)
    wait_for(lambda: "db" in composer.run("ps", "--services", cwd=directory).stdout, "db to run")
    composer.run("down", "-t", "0", cwd=directory)
    _, errors = up.communicate(timeout=60)
    assert up.returncode == 1
    assert "up was ended by `composer down`" in errors
    assert composer.run("ps", "-aq", cwd=directory).stdout == ""


def test_health_that_there_is_not(composer: Composer, project: Project) -> None:
    """Told before anything is started, with its place."""
    directory = project.write("""
services:
  quiet: {image: composer.local/host, command: sleep infinity}
  web:
    image: composer.local/host
    command: sleep infinity
    depends_on: {quiet: {condition: service_healthy}}
""")
    done = composer.run("up", "-d", cwd=directory, status=1)
    assert (
        "compose.yaml:7:37: services.web.depends_on.quiet.condition: service quiet has no healthcheck"
        in done.stderr
    )
    assert composer.containers() == []
    for words in (("create",), ("up", "-d", "quiet"), ("up", "-d", "--no-deps", "web"), ("down", "-t", "0")):
        composer.run(*words, cwd=directory)


def test_a_container_that_is_named_is_made_first(composer: Composer, project: Project) -> None:
    """Whose network another one shares by its name (not as ``service:``), as files for Docker Compose may say."""
    directory = project.write(f"""
services:
  web: {{image: composer.local/host, command: sleep infinity, networks: [a, b, c]}}
  between: {{image: composer.local/host, command: sleep infinity, depends_on: [web]}}
  inside:
    image: composer.local/host
    command: sleep infinity
    network_mode: container:{project.name}-web-1
    depends_on: [between]
networks: {{a: {{}}, b: {{}}, c: {{}}}}
""")
    composer.run("up", "-d", cwd=directory)
    web, inside = (composer.inspect(f"{project.name}-{name}-1") for name in ("web", "inside"))
    assert inside["HostConfig"]["NetworkMode"] == f"container:{web['Id']}"
    # A new one of the same name is another container.
    composer.run("up", "-d", "--force-recreate", cwd=directory)
    web, inside = (composer.inspect(f"{project.name}-{name}-1") for name in ("web", "inside"))
    assert inside["HostConfig"]["NetworkMode"] == f"container:{web['Id']}"
