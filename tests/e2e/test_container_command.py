"""``container``: answers and exit statuses where something is not as it should be, Docker's word for word."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

FILE = "services: {one: {image: composer.local/host, command: [sleep, infinity], container_name: hold}}"


@pytest.fixture
def held(composer: Composer, project: Project) -> str:
    name = f"{project.name}-one"
    project.write(FILE.replace("hold", name))
    composer.run("up", "-d", cwd=project.directory)
    return name


def test_what_cannot_be_done_is_told_as_docker_tells_it(composer: Composer, held: str) -> None:
    def refused(*words: str, status: int = 1) -> str:
        return composer.run("container", *words, status=status).stderr.strip()

    assert refused("rename", held, held).splitlines() == [
        "Renaming a container with the same name as its current name",
        f"Error: failed to rename container named {held}",
    ]
    assert refused("port", held, "80") == f"Error: No public port '80' published for {held}"
    assert refused("rm", "no-such") == "No such container: no-such"
    assert refused("rm", "-f", "no-such", status=0) == "No such container: no-such"
    assert refused("top", held, "-o", "comm") == "Couldn't find PID field in ps output"
    assert composer.run("container", "top", held, "-o", "pid,args").stdout.splitlines()[0].split() == [
        "PID",
        "COMMAND",
    ]
    assert refused("exec", "-it", held, "true") == "the input device is not a TTY"
    refused("exec", held, "no-such", status=127)
    refused("exec", held, "/etc", status=126)
    refused("exec", "-u", "no-such", held, "true", status=126)
    refused("exec", "-d", held, "no-such")
    refused("logs", "--since", "nonsense", held)
    refused("inspect", "--format", "{{", held, status=64)
    sizes = composer.run("container", "inspect", "--size", "--format", "{{.SizeRootFs}}", held)
    assert int(sizes.stdout) >= 0
    composer.run("container", "pause", held)
    assert refused("attach", held) == "You cannot attach to a paused container, unpause it first"
    composer.run("container", "kill", held)
    assert refused("attach", held) == "You cannot attach to a stopped container, start it first"


def test_what_docker_does_without_being_asked_twice(composer: Composer, held: str) -> None:
    """Nothing is followed where nothing was started, old names of flags serve, and what goes by itself is not kept."""
    made = composer.run(
        "container", "create", "--network", "none", "composer.local/host", "true"
    ).stdout.strip()
    assert composer.run("container", "logs", "-f", made).stdout == ""
    composer.run("container", "rm", made)
    words = ("--rm", "-d", "--network", "none", "composer.local/host", "sleep", "infinity")
    going = composer.run("container", "run", *words).stdout.strip()
    refused = composer.run("container", "update", "--restart", "always", going, status=1)
    assert "Restart policy cannot be updated because AutoRemove is enabled" in refused.stderr
    composer.run("container", "update", "--restart", "no", going)
    composer.run("container", "rm", "-f", going)
    refused = composer.run("container", "cp", f"{held}:", "-", status=1)
    assert refused.stderr.startswith("the path in the container is empty")
    assert "composer container inspect" in composer.run("inspect", held, status=1).stderr
    mounted = composer.run(
        "container", "ls", "-q", "--filter", "volume=/no/such", "--format", "{{.Platform}}"
    )
    assert mounted.stdout == ""
    table = composer.run("container", "ls", "--format", r"table {{.Names}}\t{{.Platform}}").stdout
    assert "PLATFORM" in table
    assert "<nil>" in table
    composer.run("container", "ls", "--filter", "is-task=perhaps", status=1)
    begun = composer.run("container", "stop", "--time", "0", held)
    assert begun.stdout.strip() == held


def test_a_signal_ends_restarts(composer: Composer) -> None:
    """As Docker's: whatever comes while a container waits to be started again, it stays down."""
    words = ("-d", "--restart", "always", "--network", "none", "composer.local/host", "false")
    made = composer.run("container", "run", *words).stdout.strip()

    def is_waiting() -> bool:
        found = composer.inspect(made)
        return found["RestartCount"] > 3 and found["State"]["Status"] == "restarting"

    wait_for(is_waiting, "a long pause between restarts")
    composer.run("container", "kill", made)
    # The pause may have been over before the command had begun.
    wait_for(lambda: not composer.inspect(made)["State"]["Running"], "it to have ended")
    state = composer.inspect(made)["State"]
    assert (state["Status"], state["Restarting"]) == ("exited", False)
    waited = composer.run("container", "wait", "no-such", made, status=1)
    assert waited.stdout.strip() == str(state["ExitCode"])
    assert waited.stderr == "No such container: no-such\n"
    composer.run("container", "rm", made)


def test_a_stop_is_told_as_docker_tells_it(composer: Composer, held: str) -> None:
    """The stop signal, also where it cannot be received and where there is no time for it, and then the end."""
    since = str(time.time())
    composer.run("container", "stop", held)
    composer.run("container", "start", held)
    composer.run("container", "stop", "-t", "0", held)
    words = ("--since", since, "--until", str(time.time()), "--filter", f"container={held}")
    told = composer.run("system", "events", *words, "--format", "{{.Action}} {{.Actor.Attributes.signal}}")
    end = ["kill 15", "kill 9", "die <no value>", "stop <no value>"]
    assert told.stdout.splitlines() == [*end, "start <no value>", *end]


def test_options_that_cannot_be_read_are_the_engines_kind_of_failure(composer: Composer) -> None:
    """125, so that it is not taken for the command's own status."""
    for option, says in (
        ("--publish=a:80", 'invalid value for --publish: "a:80": invalid hostPort: a'),
        ("--env-file=/no/such", "open /no/such: No such file or directory"),
    ):
        for verb in ("run", "create"):
            done = composer.run("container", verb, option, "composer.local/host", "true", status=125)
            assert done.stderr.splitlines()[0] == says


def test_limits_are_lifted(composer: Composer) -> None:
    words = ("container", "run", "-d", "--network", "none", "--pids-limit", "20", "--cpu-quota", "50000")
    made = composer.run(*words, "composer.local/host", "sleep", "infinity").stdout.strip()
    look = (
        "cd /sys/fs/cgroup; cat pids/pids.max cpu/cpu.cfs_quota_us cpu,cpuacct/cpu.cfs_quota_us pids.max cpu.max;"
        "true"
    )

    def limits() -> list[str]:
        return composer.run("container", "exec", made, "sh", "-c", look).stdout.split()

    assert {"20", "50000"} <= set(limits())
    assert (
        composer.run("container", "update", "--pids-limit", "-1", "--cpu-quota", "-1", made).stdout
        == f"{made}\n"
    )
    assert "max" in limits()
    assert not {"20", "50000"} & set(limits())
    assert composer.inspect(made)["HostConfig"]["PidsLimit"] in (None, 0)
    assert composer.run("container", "update", "--pids-limit", "30", made).stdout
    assert "30" in limits()
    composer.run("container", "rm", "-f", made)


def test_the_file_of_an_id(composer: Composer, tmp_path: Path) -> None:
    """It is there when there is a container, and is never somebody else's."""
    file = tmp_path / "id"
    words = ("container", "create", "--network", "none", "--cidfile", str(file))
    refused = composer.run(*words, "--pull", "never", "no.such/image", "true", status=1)
    assert "No such image" in refused.stderr
    assert not file.exists()
    made = composer.run(*words, "composer.local/host", "true").stdout.strip()
    assert file.read_text() == made
    refused = composer.run(*words, "composer.local/host", "true", status=125)
    assert refused.stderr.startswith("container ID file found")
    assert len(composer.containers()) == 1
    composer.run("container", "rm", made)


def test_what_is_refused_before_anything_is_made(composer: Composer) -> None:
    for options, says in (
        (("--platform", "linux/s390x"), "for linux/s390x: the one that is here is for"),
        (("--platform", "vax"), '"vax": unknown operating system or architecture'),
        (("--network", "none", "--ip", "10.0.0.5"), "user specified IP address is supported on user defined"),
        (("--link", "no-such:x"), "could not get container for no-such: No such container: no-such"),
        (("--log-opt", "max-sise=1m"), "unknown log opt 'max-sise' for json-file log driver"),
        (("--detach-keys", "ctrl"), "Invalid escape keys (ctrl) provided"),
    ):
        words = ("container", "run", "--pull", "never", *options, "composer.local/host", "true")
        done = composer.run(*words, status=None)
        assert done.returncode in (1, 125)
        assert says in done.stderr, done.stderr
    assert composer.containers() == []
