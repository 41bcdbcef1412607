"""post_start and pre_stop hooks: what they write, what becomes of a container whose hook fails, or that ends first."""

from __future__ import annotations

import os
import re
import signal

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

STUBBORN = """
services:
  web:
    image: composer.local/host
    command: sleep infinity
    depends_on: [db]
    stop_grace_period: 0s
    pre_stop: [{command: [sh, -c, "echo not now >&2; exit 3"]}]
  db:
    image: composer.local/host
    command: sleep infinity
    stop_grace_period: 0s
"""


def states(composer: Composer) -> dict[str, str]:
    return {found["Names"][0].rpartition("/")[2]: found["State"] for found in composer.containers()}


def test_a_container_whose_pre_stop_hook_fails_runs_on(composer: Composer, project: Project) -> None:
    """As with Docker Compose, and what it depends on does, too; kill needs no hooks."""
    web, db = f"{project.name}-web-1", f"{project.name}-db-1"
    directory = project.write(STUBBORN)
    composer.run("up", "-d", cwd=directory)
    begun = composer.inspect(web)["State"]["StartedAt"]
    for words in (
        ["stop"],
        ["restart", "web"],
        ["rm", "-sf", "web"],
        ["down"],
        ["up", "-d", "--scale", "web=0"],
    ):
        failed = composer.run(*words, cwd=directory, status=1)
        assert f"{web} runs on: its pre_stop hook exited with status 3: sh -c" in failed.stderr, words
        assert "not now" in failed.stderr and "composer kill web" in failed.stderr, words
        assert states(composer) == {web: "running", db: "running"}, words
    assert composer.inspect(web)["State"]["StartedAt"] == begun
    composer.run("kill", "web", cwd=directory)
    composer.run("down", cwd=directory)
    assert not states(composer)


def test_a_failing_pre_stop_hook_keeps_no_container_from_being_replaced(
    composer: Composer, project: Project
) -> None:
    directory = project.write(STUBBORN)
    composer.run("up", "-d", cwd=directory)
    directory = project.write(STUBBORN.replace("exit 3", "exit 0"))
    replaced = composer.run("up", "-d", cwd=directory)
    assert "is stopped all the same: its pre_stop hook exited with status 3" in replaced.stderr
    composer.run("down", cwd=directory)


def test_a_container_that_was_not_stopped_is_restarted_as_before(
    composer: Composer, project: Project
) -> None:
    """That it was to stop is forgotten when it does not."""
    web = f"{project.name}-web-1"
    directory = project.write(STUBBORN.replace("    depends_on: [db]", "    restart: always"))
    composer.run("up", "-d", cwd=directory)
    composer.run("stop", "web", cwd=directory, status=1)
    os.kill(composer.inspect(web)["State"]["Pid"], signal.SIGKILL)
    wait_for(lambda: composer.inspect(web)["RestartCount"] == 1, "the restart")
    composer.run("kill", cwd=directory)
    composer.run("down", cwd=directory)


def test_hooks_of_a_paused_container_run(composer: Composer, project: Project) -> None:
    directory = project.write(
        """
        services:
          web:
            image: composer.local/host
            command: sleep infinity
            stop_grace_period: 0s
            volumes: [.:/out]
            pre_stop: [{command: [touch, /out/stopped]}]
        """
    )
    composer.run("up", "-d", cwd=directory)
    composer.run("pause", cwd=directory)
    composer.run("down", cwd=directory)
    assert (directory / "stopped").exists()
    assert not states(composer)


def test_an_attached_up_shows_what_hooks_write(composer: Composer, project: Project) -> None:
    directory = project.write(
        """
        services:
          web:
            image: composer.local/host
            command: [sh, -c, "until [ -e /tmp/told ]; do sleep 0.1; done"]
            post_start:
              - command: [sh, -c, "echo one; printf 'two\\\\nhalf'"]
              - command: [sh, -c, "echo $$WORD; pwd; touch /tmp/told"]
                working_dir: /etc
                environment: {WORD: three}
          quiet:
            image: composer.local/host
            command: "true"
            attach: false
        """
    )
    shown = composer.run("up", cwd=directory)
    lines = [line for line in shown.stdout.splitlines() if line.startswith("web-1 ->")]
    assert lines == [f"web-1 ->  | {text}" for text in ("one", "two", "half", "three", "/etc")]
    composer.run("down", cwd=directory)
    assert "one" not in composer.run("up", "--no-attach", "web", cwd=directory).stdout
    composer.run("down", cwd=directory)


ONE_SHOT = """
services:
  job:
    image: composer.local/host
    command: [sh, -c, "until [ -e /tmp/begun ]; do sleep 0.1; done; echo done; exit 5"]
    post_start: [{command: [sh, -c, "touch /tmp/begun; sleep infinity"]}]
"""


def test_a_one_shot_that_ends_before_its_hook_has_decides(composer: Composer, project: Project) -> None:
    """Its exit status and output are as without the hook, which is only warned of."""
    warning = f"{project.name}-job-1 has ended before its post_start hook had: sh -c touch"
    directory = project.write(ONE_SHOT)
    assert warning in composer.run("up", "-d", cwd=directory).stderr
    composer.run("down", cwd=directory)
    shown = composer.run("up", "--exit-code-from", "job", cwd=directory, status=5)
    assert "job-1  | done" in shown.stdout
    assert warning in composer.run("start", cwd=directory).stderr
    composer.run("down", cwd=directory)


def test_run_has_no_post_start_hooks(composer: Composer, project: Project) -> None:
    directory = project.write(ONE_SHOT)
    ran = composer.run("run", "--rm", "job", "sh", "-c", "echo hi; exit 6", cwd=directory, status=6)
    assert ran.stdout == "hi\n"
    assert "hook" not in ran.stderr
    composer.run("down", cwd=directory)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_up_ends_when_a_pre_stop_hook_fails(
    composer: Composer, project: Project, number: signal.Signals
) -> None:
    web = f"{project.name}-web-1"
    directory = project.write(STUBBORN)
    composer.run("up", "-d", cwd=directory)
    up = composer.start("up", cwd=directory)
    try:
        assert up.stdout is not None
        assert up.stdout.readline().startswith("Attaching to ")
        up.send_signal(number)
        _, errors = up.communicate(timeout=60)
    finally:
        up.kill()
        up.wait()
    assert up.returncode == 130
    assert "Gracefully Stopping..." in errors
    assert f"{web} runs on: its pre_stop hook exited with status 3: sh -c" in errors
    assert "composer kill web" in errors
    assert states(composer)[web] == "running"
    composer.run("kill", cwd=directory)
    composer.run("down", cwd=directory)


def test_why_a_post_start_hook_failed_is_told_later(composer: Composer, project: Project) -> None:
    """By a second up, by ps, by inspect and in the engine's log, for as long as that run is."""
    web = f"{project.name}-web-1"
    text = """
        services:
          web:
            image: composer.local/host
            command: sleep infinity
            stop_grace_period: 0s
            post_start: [{command: [sh, -c, "echo not yet; exit 3"]}]
        """
    directory = project.write(text)
    failed = composer.run("up", "-d", cwd=directory, status=1)
    assert re.search(r"compose\.yaml:7:\d+: services\.web\.post_start\[0\]: ", failed.stderr)
    why = "post_start hook exited with status 3: sh -c echo not yet; exit 3"
    again = composer.run("up", "-d", cwd=directory)
    assert f"{web} runs, but its {why}: not yet (`composer restart web` starts it anew)" in again.stderr
    shown = composer.run("ps", cwd=directory)
    assert f"{web} runs, but its {why}: not yet" in shown.stderr
    assert why not in shown.stdout
    state = composer.inspect(web)["State"]
    assert (state["Status"], state["Error"]) == ("running", f"{why}: not yet")
    assert f"container {web}: {why}; it said: not yet" in composer.run("engine", "logs").stdout
    composer.kill("composer-core")
    assert composer.inspect(web)["State"]["Error"] == f"{why}: not yet"
    directory = project.write(text.replace("exit 3", "exit 0"))
    assert why not in composer.run("up", "-d", cwd=directory).stderr
    assert composer.inspect(web)["State"]["Error"] == ""
    composer.run("down", cwd=directory)


def test_an_attached_up_shows_output_while_a_hook_runs(composer: Composer, project: Project) -> None:
    """As Docker Compose does: the hook here waits for what it takes to be shown."""
    directory = project.write(
        """
        services:
          web:
            image: composer.local/host
            command: [sh, -c, "echo begun; until [ -e /out/seen ]; do sleep 0.1; done"]
            volumes: [.:/out]
            post_start: [{command: [sh, -c, "until [ -e /out/seen ]; do sleep 0.1; done"]}]
        """
    )
    up = composer.start("up", cwd=directory)
    assert up.stdout is not None
    try:
        shown = []
        while "begun" not in "".join(shown):
            shown.append(up.stdout.readline())
            assert shown[-1], "up has ended"
        (directory / "seen").touch()
        up.communicate(timeout=60)
    finally:
        up.kill()
        up.wait()
    composer.run("down", cwd=directory)


@pytest.mark.parametrize("words", ["stop -t 1 web", "down -t 1"])
def test_a_pre_stop_hook_that_hangs_is_cut_short_by_who_says_a_time(
    composer: Composer, project: Project, words: str
) -> None:
    web = f"{project.name}-web-1"
    directory = project.write(
        """
        services:
          web:
            image: composer.local/host
            command: sleep infinity
            volumes: [.:/out]
            pre_stop: [{command: [sh, -c, "touch /out/hook; exec sleep infinity"]}]
        """
    )
    composer.run("up", "-d", cwd=directory)
    patient = composer.start("stop", cwd=directory)
    try:
        wait_for((directory / "hook").exists, "the hook")
        composer.run(*words.split(), cwd=directory)
        _, problem = patient.communicate(timeout=60)
    finally:
        patient.kill()
        patient.wait()
    assert patient.returncode == 0, problem
    assert states(composer).get(web) == ("exited" if words.startswith("stop") else None)
    composer.run("down", cwd=directory)
