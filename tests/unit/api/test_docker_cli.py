"""The real docker command reads what the server says."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
import trio

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="needs the docker command")


async def docker(address: str, *arguments: str, stdin: bytes = b"", check: bool = True) -> Any:
    command = ["docker", "-H", f"unix://{address}", *arguments]
    with trio.fail_after(20):
        done = await trio.run_process(
            command, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False
        )
    assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done


async def test_version_and_info(address, engine):
    done = await docker(address, "version", "--format", "{{.Server.APIVersion}} {{.Server.Version}}")
    assert done.stdout.split() == [b"1.47", b"0.1.0"]
    assert b"Server Version: 0.1.0" in (await docker(address, "info")).stdout


async def test_ps(address, engine):
    await engine.run_container("web", health="healthy", command=("sleep", "1 2"))
    format_ = "{{.Names}}|{{.Image}}|{{.Command}}|{{.Status}}|{{.Ports}}"
    done = await docker(address, "ps", "--no-trunc", "--format", format_)
    assert (
        done.stdout.decode().strip() == "web|busybox|\"sleep '1 2'\"|Up Less than a second (healthy)|80/tcp"
    )


async def test_create_start_stop_inspect(address, engine):
    await docker(
        address, "create", "--name", "db", "-p", "127.0.0.1:8080:80", "-v", "/srv:/data:ro", "-v", "vol:/v",
        "-e", "A=own", "--label", "x=y", "-m", "64m", "--restart", "on-failure:3",
        "--health-cmd", "true", "--init", "--add-host", "h:1.2.3.4", "--tmpfs", "/run:size=1m",
        "--ulimit", "nofile=10:20",
        "busybox", "echo", "hi",
    )  # fmt: skip
    await docker(address, "start", "db")
    (found,) = json.loads((await docker(address, "inspect", "db")).stdout)
    assert found["Name"] == "/db"
    assert found["State"]["Running"] is True
    assert found["Config"]["Env"] == ["A=own", "PATH=/bin"]
    assert found["Config"]["Labels"] == {"from": "image", "x": "y"}
    assert found["Config"]["Healthcheck"]["Test"] == ["CMD-SHELL", "true"]
    host = found["HostConfig"]
    assert sorted(host["Binds"]) == ["/srv:/data:ro", "vol:/v"]
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert host["Memory"] == 64 << 20
    assert host["ExtraHosts"] == ["h:1.2.3.4"]
    assert host["Tmpfs"] == {"/run": "size=1m"}
    assert host["Init"] is True
    assert host["Ulimits"] == [{"Name": "nofile", "Hard": 20, "Soft": 10}]
    assert found["NetworkSettings"]["Ports"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    assert found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == "172.20.0.2"
    await docker(address, "stop", "db")
    done = await docker(address, "ps", "-a", "--format", "{{.Status}}")
    assert done.stdout.startswith(b"Exited (143) Less than a second ago")
    await docker(address, "rm", "db")
    assert (await docker(address, "ps", "-aq")).stdout == b""


async def test_run_attached(address, engine):
    done = await docker(address, "run", "--rm", "-i", "busybox", stdin=b"hello", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"HELLO", b"")


async def test_run_without_input(address, engine):
    done = await docker(address, "run", "--rm", "busybox", check=False)
    assert done.returncode == 3
    assert engine.containers.list(True) == []


async def test_run_of_an_image_that_is_not_there_pulls(address, engine):
    done = await docker(address, "run", "--rm", "nothere", check=False)
    assert b"Unable to find image 'nothere:latest' locally" in done.stderr
    assert b"Image is up to date" in done.stderr


async def test_exec(address, engine):
    await engine.run_container("web")
    done = await docker(address, "exec", "web", "echo", "hi", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"echo hi\n", b"to stderr\n")
    done = await docker(address, "exec", "-i", "web", "cat", stdin=b"abc", check=False)
    assert (done.returncode, done.stdout) == (3, b"cat\nABC")
    await docker(address, "exec", "-d", "web", "true")
    assert engine.execs.sessions[0].is_closed


async def test_exec_in_a_stopped_container(address, engine):
    await docker(address, "create", "--name", "web", "busybox")
    done = await docker(address, "exec", "web", "true", check=False)
    assert done.returncode == 1
    assert b"is not running" in done.stderr


async def test_logs(address, engine):
    from runtime.container.logs import LogEntry

    web = await engine.run_container("web")
    web.lines += [
        LogEntry(time_ns=1_700_000_000_000_000_001, stream="stdout", data=b"one"),
        LogEntry(time_ns=1_700_000_001_000_000_000, stream="stderr", data=b"two"),
        LogEntry(time_ns=1_700_000_002_000_000_000, stream="stdout", data=b"end", partial=True),
    ]
    done = await docker(address, "logs", "web")
    assert (done.stdout, done.stderr) == (b"one\nend", b"two\n")
    done = await docker(address, "logs", "-t", "--tail", "1", "web")
    assert done.stdout == b"2023-11-14T22:13:22.000000000Z end"


async def test_wait_top_stats_diff_update(address, engine):
    web = await engine.run_container("web")
    assert b"sh" in (await docker(address, "top", "web")).stdout
    done = await docker(address, "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
    assert done.stdout == b"web 1MiB / 1GiB\n"
    assert (await docker(address, "diff", "web")).stdout == b"C /etc\nA /etc/new\n"
    await docker(address, "update", "-m", "32m", "web")
    assert web.config.resources.memory == 32 << 20
    async with trio.open_nursery() as nursery:
        results = []

        async def wait() -> None:
            results.append(await docker(address, "wait", "web"))

        nursery.start_soon(wait)
        await trio.sleep(0.2)
        engine.containers.end(web, 7)
    assert results[0].stdout == b"7\n"


async def test_copying(address, engine, tmp_path):
    await engine.run_container("web")
    await docker(address, "cp", "web:/f", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"hello"
    (tmp_path / "in").write_bytes(b"data")
    await docker(address, "cp", str(tmp_path / "in"), "web:/f")
    assert b"data" in engine.containers.puts[0][2]
    done = await docker(address, "cp", "web:/missing", str(tmp_path / "no"), check=False)
    assert b"Could not find the file /missing" in done.stderr


async def test_images(address, engine, tmp_path):
    done = await docker(address, "images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}")
    assert done.stdout == b"busybox:latest abababababab 1.99MB\n"
    assert b"COPY" in (await docker(address, "history", "busybox")).stdout
    await docker(address, "tag", "busybox", "other:1")
    assert engine.images.get("busybox").tags == ("busybox:latest", "docker.io/library/other:1")
    assert (
        json.loads((await docker(address, "image", "inspect", "busybox")).stdout)[0]["Architecture"]
        == "amd64"
    )
    done = await docker(address, "load", stdin=b"an archive")
    assert (done.stdout, engine.images.loaded) == (b"Loaded image: busybox:latest\n", [b"an archive"])
    await docker(address, "import", "-", "x:1", stdin=b"root")
    assert engine.images.loaded[-1] == b"root"
    assert b"Deleted" in (await docker(address, "rmi", "busybox")).stdout
    done = await docker(address, "pull", "missing:1", check=False)
    assert done.returncode == 1 and b"manifest for" in done.stderr
    done = await docker(address, "pull", "broken:1", check=False)
    assert done.returncode == 1 and b"the registry broke off" in done.stderr


async def test_networks_and_volumes(address, engine):
    await docker(address, "network", "create", "--subnet", "10.9.0.0/24", "--label", "a=b", "net")
    done = await docker(
        address, "network", "ls", "--filter", "type=custom", "--format", "{{.Name}} {{.Driver}}"
    )
    assert done.stdout == b"net bridge\n"
    web = await engine.run_container("web")
    await docker(address, "network", "connect", "--alias", "x", "--ip", "10.9.0.7", "net", "web")
    (found,) = json.loads((await docker(address, "network", "inspect", "net")).stdout)
    assert found["Containers"][web.id]["Name"] == "web"
    assert found["IPAM"]["Config"] == [{"Subnet": "10.9.0.0/24"}]
    await docker(address, "network", "disconnect", "net", "web")
    await docker(address, "network", "rm", "net")
    assert (await docker(address, "volume", "create", "--label", "a=b", "v")).stdout == b"v\n"
    assert (await docker(address, "volume", "ls", "-q", "--filter", "label=a=b")).stdout == b"v\n"
    assert (
        json.loads((await docker(address, "volume", "inspect", "v")).stdout)[0]["Mountpoint"]
        == "/volumes/v/_data"
    )
    await docker(address, "volume", "rm", "v")
    assert b"no such volume" in (await docker(address, "volume", "inspect", "v", check=False)).stderr


async def test_events(address, engine):
    await engine.run_container("web")
    done = await docker(
        address, "events", "--since", "1m", "--until=-1s", "--format", "{{.Type}} {{.Action}}"
    )
    assert done.stdout == b"container create\ncontainer start\n"


async def test_system_df_and_prunes(address, engine):
    await docker(address, "create", "busybox")
    assert b"Images" in (await docker(address, "system", "df")).stdout
    assert b"Deleted Containers" in (await docker(address, "container", "prune", "-f")).stdout
    for kind in ("image", "network", "volume"):
        await docker(address, kind, "prune", "-f")
    assert b"ab12" in (await docker(address, "builder", "prune", "-f")).stdout


async def test_what_is_not_supported_says_so(address, engine):
    done = await docker(address, "run", "--volume-driver", "nfs", "busybox", check=False)
    assert b"HostConfig.VolumeDriver: 'nfs' is not supported" in done.stderr
    done = await docker(address, "swarm", "init", check=False)
    assert b"swarm mode is not supported" in done.stderr


def test_the_command_is_the_real_one():
    assert b"Docker version" in subprocess.run(["docker", "--version"], capture_output=True).stdout


async def test_build(address, engine, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    done = await docker(address, "build", "-t", "app:1", str(tmp_path), check=False)
    if b"buildx" in done.stderr and done.returncode:
        pytest.skip("this docker command has no builder of its own")
    assert b"Successfully built 1\nSuccessfully tagged app:1\n" in done.stdout
