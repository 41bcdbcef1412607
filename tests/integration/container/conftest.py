"""Containers without an engine: the test is the core, a real keeper forks real shims, all state is in tmp_path.

The root file system is the embedded image (this machine's userland), so that nothing has to be pulled.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import select
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from runtime.container import bootstrap, launch_tables, spec, wire
from runtime.container.client import KeeperClient
from runtime.container.config import ContainerConfig, ImageConfig, Mount
from runtime.container.exec_process import exec_process
from runtime.container.host import device_nodes, host_facts
from runtime.container.logs import read_log
from runtime.container.shim_client import AttachStreams, ExecStreams, ExitStatus, Shim
from runtime.image.host import host_image
from runtime.image.model import Image
from runtime.image.platform import Platform
from runtime.kernel import sockets
from runtime.kernel.cgroups import Cgroups
from runtime.network.sandbox import plan_sandbox
from runtime.network.sandbox_script import NotWritable
from runtime.storage.paths import Paths
from runtime.storage.removal import remove_tree

FACTS = Path(__file__).with_name("facts.py")
TIMEOUT = 60.0 * float(os.environ.get("COMPOSER_TEST_PATIENCE", "1"))
"""Seconds that anything in these tests may take; more on a machine that is emulated."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if "integration/container" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs root: these tests run containers"))


@dataclass
class Finished:
    """A container or exec that has ended."""

    code: int
    stdout: bytes
    stderr: bytes
    status: ExitStatus | None = None

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


class Pipe:
    """Collects what is written to one end."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        self.data = b""

    def close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    async def collect(self) -> None:
        """Until the last writer is gone."""
        os.set_blocking(self._reader, False)
        try:
            while True:
                await trio.lowlevel.wait_readable(self._reader)
                part = os.read(self._reader, 1 << 20)
                if not part:
                    return
                self.data += part
        finally:
            os.close(self._reader)


class NoTables(launch_tables.Tables):
    """Has every first process be a fork."""

    def get(self, spec: wire.LaunchSpec, document: bytes) -> launch_tables.Written:
        raise NotWritable


@dataclass
class Laboratory:
    """One engine's worth of state, and the keeper."""

    paths: Paths
    keeper: KeeperClient
    image: Image
    tag: str
    cgroups: Cgroups
    listener: socket.socket
    lock: int
    shims: list[Shim] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def build(
        self, *argv: str, id: str = "", sandbox: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None,
        image: ImageConfig | None = None, **config: Any,
    ) -> wire.LaunchSpec:  # fmt: skip
        """The spec of a container of the embedded image, without a network unless ``sandbox`` says."""
        container_id = id or secrets.token_hex(32)
        self.ids.append(container_id)
        config.setdefault("network_mode", "none")
        binds = tuple(
            Mount(type="bind", source=source, target=target, read_only=True)
            for source, target in self.image.binds
        )
        asked = ContainerConfig(image="composer.local/host", command=argv, **config)
        asked = replace(asked, mounts=(*binds, *asked.mounts))
        run_dir = self.paths.container_run(container_id)
        run_dir.mkdir(parents=True, exist_ok=True)
        for name, text in (("hosts", "127.0.0.1 localhost\n"), ("hostname", "x\n"), ("resolv.conf", "")):
            (run_dir / name).write_text(text)
        nodes, rules = device_nodes(asked)
        host = host_facts(self.tag)
        return spec.build_launch_spec(
            spec.LaunchInputs(
                id=container_id,
                name="test",
                config=asked,
                image=image or self.image.config,
                layers=self.image.layers,
                state_dir=self.paths.container(container_id),
                run_dir=run_dir,
                host=host,
                sandbox=sandbox or dict(plan_sandbox(container_id, mode="none")),
                devices=nodes,
                device_rules=rules,
                **(inputs or {}),
            )
        )

    async def start(self, *argv: str, streams: AttachStreams | None = None, **config: Any) -> Shim:
        """Start and leave running; stopped when the test ends."""
        with trio.fail_after(TIMEOUT):
            shim = await self.keeper.launch(self.build(*argv, **config), streams)
        self.shims.append(shim)
        return shim

    async def run(self, *argv: str, stdin: bytes | None = None, **config: Any) -> Finished:
        """Run to the end with everything that it writes."""
        out, err = Pipe(), Pipe()
        source = -1
        if stdin is not None:
            config.update(stdin_open=True, stdin_once=True)
            source, writer = os.pipe2(os.O_CLOEXEC)
            os.write(writer, stdin)
            os.close(writer)
        theirs = AttachStreams(
            stdin=source if stdin is not None else None,
            stdout=out.writer,
            stderr=None if config.get("tty") else err.writer,
            lossless=True,
        )
        with trio.fail_after(TIMEOUT):
            try:
                shim = await self.start(*argv, streams=theirs, **config)
            finally:
                out.close_writer()
                err.close_writer()
                if source >= 0:
                    os.close(source)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(out.collect)
                nursery.start_soon(err.collect)
                status = await shim.wait()
        return Finished(status.exit_code, out.data, err.data, status)

    async def sh(self, script: str, **config: Any) -> Finished:
        return await self.run("/bin/sh", "-c", script, **config)

    async def facts(self, *topics: str, shim: Shim | None = None, **config: Any) -> dict[str, Any]:
        """What a process in a new container, or one more in that of ``shim``, finds out about itself (``facts.py``)."""
        argv = ("/usr/bin/python3", "-c", FACTS.read_text(), *topics)
        finished = await (self.exec(shim, *argv, **config) if shim else self.run(*argv, **config))
        assert finished.code == 0, finished.stderr.decode()
        found: dict[str, Any] = json.loads(finished.stdout)
        return found

    def exec_spec(
        self, *argv: str, tty: bool = False, config: ContainerConfig | None = None, **more: Any
    ) -> wire.ExecSpec:
        return wire.ExecSpec(
            process=exec_process(
                config or ContainerConfig(image="composer.local/host"),
                self.image.config,
                host_facts(self.tag),
                argv,
                tty=tty,
                **more,
            )
        )

    async def exec(self, shim: Shim, *argv: str, stdin: bytes | None = None, **more: Any) -> Finished:
        """Run a process in a running container to its end."""
        out, err = Pipe(), Pipe()
        source = None
        if stdin is not None:
            source, writer = os.pipe2(os.O_CLOEXEC)
            os.write(writer, stdin)
            os.close(writer)
        with trio.fail_after(TIMEOUT):
            try:
                session = await shim.exec(
                    self.exec_spec(*argv, **more), ExecStreams(source, out.writer, err.writer)
                )
            finally:
                out.close_writer()
                err.close_writer()
                if source is not None:
                    os.close(source)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(out.collect)
                nursery.start_soon(err.collect)
                code = await session.wait()
        return Finished(code, out.data, err.data)

    def log_of(self, container_id: str) -> list[tuple[str, bytes]]:
        return [(e.stream, e.data) for e in read_log(self.paths.container(container_id) / "log")]

    def last_id(self) -> str:
        return self.ids[-1]

    def new_keeper(self) -> int:
        """Put a new keeper in the place of one that was killed; returns its process id."""
        argv = [sys.executable, "-c", ""]
        connection, pid = bootstrap.replace_keeper(self.paths, argv, self.listener.fileno(), self.lock)
        self.keeper.replace(connection, pid)
        return pid


def end_process(pid: int, pidfd: int) -> None:
    """SIGKILL, and wait until it is gone."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(60_000)


@pytest.fixture(scope="session")
def embedded_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return host_image(tmp_path_factory.mktemp("image"), Platform())


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    found = Paths(tmp_path / "lib", tmp_path / "run")
    for directory in (found.lib, found.run):
        directory.mkdir()
    yield found
    remove_tree(tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
async def laboratory(paths: Paths, embedded_image: Image) -> AsyncIterator[Laboratory]:
    tag = secrets.token_hex(4)
    listener = sockets.listen(paths.socket, socket.SOCK_STREAM)
    lock = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    connection, pid = bootstrap.replace_keeper(paths, [sys.executable, "-c", ""], listener.fileno(), lock)
    keeper = KeeperClient(connection, pid)
    made = Laboratory(paths, keeper, embedded_image, tag, Cgroups(tag), listener, lock)
    mounts_before = mounts_below(paths.lib.parent)
    yield made
    pidfd = os.pidfd_open(keeper.pid)
    keeper.close()
    end_process(keeper.pid, pidfd)
    os.close(pidfd)
    with trio.CancelScope(shield=True), trio.move_on_after(60):
        for shim in made.shims:
            with suppress(ProcessLookupError, OSError):
                made.cgroups.thaw(made.ids[0]) if made.ids else None
            with suppress(ProcessLookupError, OSError, KeyError):
                shim.signal(signal.SIGKILL)
            with suppress(Exception):
                await shim.wait()
            shim.close()
    left = [container_id for container_id in made.ids if made.cgroups.pids(container_id)]
    made.cgroups.sweep(())
    listener.close()
    os.close(lock)
    assert not left, f"processes were left in the cgroups of {left}"
    assert not cgroup_leftovers(tag), "cgroups were left"
    assert mounts_below(paths.lib.parent) == mounts_before, "mounts were left on the host"


def mounts_below(directory: Path) -> list[str]:
    """The host's own mounts there: other engines of this machine come and go."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4].startswith(f"{directory}/")]


def cgroup_leftovers(tag: str) -> list[str]:
    base = Path("/sys/fs/cgroup")
    return [str(path) for path in (*base.glob(f"*/composer-{tag}"), *base.glob(f"composer-{tag}"))]
