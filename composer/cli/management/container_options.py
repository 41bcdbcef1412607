"""Options of ``container run`` and ``create``, and the body of the API's request that they come to."""

from __future__ import annotations

from composer.cli.arguments import Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from composer.cli.arguments import Arguments

_WINDOWS = "it is for Windows"
RESOURCES = (
    Flag("blkio-weight", kind="uint16", help="Weight of block I/O, 10 to 1000"),
    Flag("cpu-period", kind="int", help="Period of the CPU quota in µs"),
    Flag("cpu-quota", kind="int", help="CPU time per period in µs"),
    Flag("cpu-rt-period", kind="int", help="Period of real-time scheduling in µs"),
    Flag("cpu-rt-runtime", kind="int", help="Real-time CPU time per period in µs"),
    Flag("cpu-shares", "c", "int", "Relative weight of CPU time"),
    Flag("cpus", kind="decimal", help="Number of CPUs"),
    Flag("cpuset-cpus", kind="string", help="CPUs to run on: 0-3, 0,1"),
    Flag("cpuset-mems", kind="string", help="Memory nodes to use"),
    Flag("memory", "m", "bytes", "Limit of memory"),
    Flag("memory-reservation", kind="bytes", help="Soft limit of memory"),
    Flag("memory-swap", kind="bytes", help="Limit of memory and swap together, -1 for no limit of swap"),
    Flag("pids-limit", kind="int", help="Limit of processes, -1 for none"),
)
OPTIONS = (
    *RESOURCES,
    Flag("add-host", kind="list", help="Entry of /etc/hosts: NAME:ADDRESS"),
    Flag("annotation", kind="map", help="Annotation: KEY=value"),
    Flag("attach", "a", "list", "Streams to attach: stdin, stdout, stderr"),
    Flag("blkio-weight-device", kind="list", help="Weight of a device: PATH:WEIGHT"),
    Flag("cap-add", kind="list", help="Add a capability"),
    Flag("cap-drop", kind="list", help="Drop a capability"),
    Flag("cgroup-parent", kind="string", help="Parent of the container's cgroup, below the engine's own"),
    Flag("cgroupns", kind="string", help="cgroup namespace: host or private"),
    Flag("cidfile", kind="string", help="Write the container's id to a file"),
    Flag("cpu-count", kind="int", refusal=_WINDOWS),
    Flag("cpu-percent", kind="int", refusal=_WINDOWS),
    Flag("device", kind="list", help="Device of the host: PATH[:PATH[:rwm]]"),
    Flag("device-cgroup-rule", kind="list", help="Rule of the device controller: c 189:* rmw"),
    Flag("device-read-bps", kind="list", help="Limit of reading a device: PATH:BYTES"),
    Flag("device-read-iops", kind="list", help="Limit of reads a second: PATH:NUMBER"),
    Flag("device-write-bps", kind="list", help="Limit of writing a device: PATH:BYTES"),
    Flag("device-write-iops", kind="list", help="Limit of writes a second: PATH:NUMBER"),
    Flag("disable-content-trust", help="Accepted: there is no content trust", default="true", is_hidden=True),
    Flag("dns", kind="list", help="Name server"),
    Flag("dns-option", kind="list", help="Option of resolv.conf"),
    Flag("dns-opt", kind="list", help="Same as --dns-option", is_hidden=True),
    Flag("dns-search", kind="list", help="Search domain"),
    Flag("domainname", kind="string", help="Domain name"),
    Flag("entrypoint", kind="string", help="Another entrypoint"),
    Flag("env", "e", "list", "Environment variable: NAME=value, or NAME for this shell's"),
    Flag("env-file", kind="list", help="File of environment variables"),
    Flag("expose", kind="list", help="Port that is open without being published"),
    Flag("gpus", kind="list", help="GPUs: all, a number, or device=…,driver=…"),
    Flag("group-add", kind="list", help="Further group"),
    Flag("health-cmd", kind="string", help="Command of the healthcheck"),
    Flag("health-interval", kind="string", help="Time between two checks: 30s"),
    Flag("health-retries", kind="int", help="Failures in a row until it is unhealthy"),
    Flag("health-start-interval", kind="string", help="Time between checks during the start period"),
    Flag("health-start-period", kind="string", help="Time to start up, in which failures do not count"),
    Flag("health-timeout", kind="string", help="Time that a check may take"),
    Flag("hostname", "h", "string", "Host name"),
    Flag("init", help="Run an init that passes signals on and reaps processes"),
    Flag("interactive", "i", help="Keep the standard input open"),
    Flag("io-maxbandwidth", kind="bytes", refusal=_WINDOWS),
    Flag("io-maxiops", kind="uint", refusal=_WINDOWS),
    Flag("ip", kind="string", help="IPv4 address"),
    Flag("ip6", kind="string", help="IPv6 address"),
    Flag("ipc", kind="string", help="IPC namespace: private, shareable, host, none, container:NAME"),
    Flag("isolation", kind="string", help="Only default: others are for Windows", is_hidden=True),
    Flag("kernel-memory", kind="bytes", refusal="the kernel does not limit its own memory any more"),
    Flag("label", "l", "list", "Label: KEY=value"),
    Flag("label-file", kind="list", help="File of labels"),
    Flag("link", kind="list", help="Another container under a name of one's own: NAME:ALIAS"),
    Flag("link-local-ip", kind="list", help="Link-local address"),
    Flag("log-driver", kind="string", help="json-file, local or none"),
    Flag("log-opt", kind="list", help="Option of the log: max-size=10m, max-file=3"),
    Flag("mac-address", kind="string", help="Hardware address: 92:d0:c6:0a:29:33"),
    Flag("memory-swappiness", kind="int", help="Readiness to swap, 0 to 100"),
    Flag("mount", kind="mount", help="Mount: type=bind,source=/a,target=/b"),
    Flag("name", kind="string", help="Name"),
    Flag("network", kind="network", help="Network, or host, none, container:NAME"),
    Flag("net", kind="network", help="Same as --network", is_hidden=True),
    Flag("network-alias", kind="list", help="Another name on the network"),
    Flag("no-healthcheck", help="Without the image's healthcheck"),
    Flag("oom-kill-disable", help="Never kill for lack of memory (cgroup v1)"),
    Flag("oom-score-adj", kind="int", help="Readiness to be killed for lack of memory, -1000 to 1000"),
    Flag("pid", kind="string", help="PID namespace: host, container:NAME"),
    Flag("platform", kind="string", help="Platform of a multi-platform image"),
    Flag("privileged", help="All capabilities and devices, nothing masked"),
    Flag("publish", "p", "list", "Publish a port: [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]"),
    Flag("publish-all", "P", help="Publish all ports that the image names"),
    Flag("pull", kind="string", help='Pull the image first ("always"|"missing"|"never")', default="missing"),
    Flag("quiet", "q", help="Pull without progress"),
    Flag("read-only", help="Read-only root file system"),
    Flag("restart", kind="string", help="no, on-failure[:N], always, unless-stopped", default="no"),
    Flag("rm", help="Remove the container, and its anonymous volumes, when it ends"),
    Flag("runtime", kind="string", help="Only composer's own, also as runc", is_hidden=True),
    Flag("security-opt", kind="list", help="no-new-privileges, seccomp=FILE, ..."),
    Flag("shm-size", kind="bytes", help="Size of /dev/shm"),
    Flag("stop-signal", kind="string", help="Signal that stops it"),
    Flag("stop-timeout", kind="int", help="Seconds between the stop signal and SIGKILL"),
    Flag("storage-opt", kind="list", help="Option of the writable layer"),
    Flag("sysctl", kind="map", help="Kernel parameter of the namespaces: KEY=value"),
    Flag("tmpfs", kind="list", help="Mount a tmpfs: PATH[:OPTIONS]"),
    Flag("tty", "t", help="With a terminal"),
    Flag("ulimit", kind="ulimit", help="Limit: NAME=SOFT[:HARD]"),
    Flag("use-api-socket", refusal="bind mount the engine's socket where it is wanted"),
    Flag("user", "u", "string", "Run as: NAME|UID[:GROUP]"),
    Flag("userns", kind="string", help="User namespace: host"),
    Flag("uts", kind="string", help="UTS namespace: host"),
    Flag("volume", "v", "list", "Mount a directory or a volume: SOURCE:TARGET[:OPTIONS]"),
    Flag("volume-driver", kind="string", help="Only local", is_hidden=True),
    Flag("volumes-from", kind="list", help="Mount what another container mounts"),
    Flag("workdir", "w", "string", "Working directory"),
)


def create_body(arguments: Arguments, env: Mapping[str, str]) -> dict[str, Any]:
    """Docker's body of ``POST /containers/create``. Raises UsageError."""
    image, *command = arguments.words
    detach = arguments.knows("detach") and arguments.is_on("detach")
    interactive = arguments.is_on("interactive")
    attached = streams(arguments)
    if arguments.is_on("rm") and arguments.text("restart") not in ("", "no"):
        raise UsageError("conflicting options: cannot specify both --restart and --rm")
    body: dict[str, Any] = {
        "Image": image,
        "Cmd": command or None,
        "Hostname": arguments.text("hostname"),
        "Domainname": arguments.text("domainname"),
        "User": arguments.text("user"),
        "Env": _environment(arguments, env),
        "Labels": _labels(arguments),
        "WorkingDir": arguments.text("workdir"),
        "Tty": arguments.is_on("tty"),
        "OpenStdin": interactive,
        "StdinOnce": interactive and not detach,
        "AttachStdin": not detach and "stdin" in attached,
        "AttachStdout": not detach and "stdout" in attached,
        "AttachStderr": not detach and "stderr" in attached,
        "StopSignal": arguments.text("stop-signal"),
        "StopTimeout": arguments.number("stop-timeout"),
    }
    if arguments.has("entrypoint"):
        body["Entrypoint"] = [arguments.text("entrypoint")]
    if check := _healthcheck(arguments):
        body["Healthcheck"] = check
    exposed, bindings = _ports(arguments)
    body["ExposedPorts"] = exposed
    networks = [*arguments.list("network"), *arguments.list("net")]
    first, endpoints = _networks(networks, arguments)
    body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    body["HostConfig"] = _host_config(arguments) | {"PortBindings": bindings, "NetworkMode": first}
    if arguments.is_on("tty"):
        from composer.cli.terminals.terminal import window

        body["HostConfig"]["ConsoleSize"] = window(True)
    return body


def streams(arguments: Arguments) -> list[str]:
    """Which of a container's streams the command is about: ``--attach``, or its output, and its input where that is
    open. Raises UsageError."""
    if not (asked := arguments.list("attach")):
        return ["stdout", "stderr", *(["stdin"] if arguments.is_on("interactive") else [])]
    if arguments.knows("detach") and arguments.is_on("detach"):
        raise UsageError("conflicting options: cannot specify both --attach and --detach")
    for name in asked:
        if name.lower() not in ("stdin", "stdout", "stderr"):
            raise UsageError(
                f'invalid argument "{name}" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR',
                is_flag=True,
            )
    return [name.lower() for name in asked]


def _host_config(arguments: Arguments) -> dict[str, Any]:
    import os

    from composer.cli.management.device_options import device, device_requests, is_named
    from composer.cli.management.mount_options import bind, mount

    text, items = arguments.text, arguments.list
    logging: dict[str, Any] = {"Type": text("log-driver"), "Config": _pairs(items("log-opt"))}
    return {
        **resources(arguments),
        "Annotations": _pairs(items("annotation")),
        "AutoRemove": arguments.is_on("rm"),
        "Binds": list(dict.fromkeys(bind(item, os.getcwd()) for item in items("volume"))),
        "BlkioWeightDevice": [_device_value(item, "Weight") for item in items("blkio-weight-device")],
        "BlkioDeviceReadBps": [_device_value(item, "Rate") for item in items("device-read-bps")],
        "BlkioDeviceWriteBps": [_device_value(item, "Rate") for item in items("device-write-bps")],
        "BlkioDeviceReadIOps": [_device_value(item, "Rate") for item in items("device-read-iops")],
        "BlkioDeviceWriteIOps": [_device_value(item, "Rate") for item in items("device-write-iops")],
        "CapAdd": items("cap-add"),
        "CapDrop": items("cap-drop"),
        "CgroupParent": text("cgroup-parent"),
        "CgroupnsMode": text("cgroupns"),
        "Devices": [device(item) for item in items("device") if not is_named(item)],
        "DeviceRequests": device_requests(items("device"), items("gpus")),
        "DeviceCgroupRules": items("device-cgroup-rule"),
        "Dns": items("dns"),
        "DnsOptions": [*items("dns-option"), *items("dns-opt")],
        "DnsSearch": items("dns-search"),
        "ExtraHosts": items("add-host"),
        "GroupAdd": items("group-add"),
        "Init": arguments.is_on("init"),
        "IpcMode": text("ipc"),
        "Isolation": text("isolation"),
        "Links": items("link"),
        "LogConfig": logging,
        "MemorySwappiness": arguments.number("memory-swappiness"),
        "Mounts": [mount(item) for item in items("mount")],
        "OomKillDisable": arguments.is_on("oom-kill-disable"),
        "OomScoreAdj": arguments.number("oom-score-adj") or 0,
        "PidMode": text("pid"),
        "Privileged": arguments.is_on("privileged"),
        "PublishAllPorts": arguments.is_on("publish-all"),
        "ReadonlyRootfs": arguments.is_on("read-only"),
        "RestartPolicy": restart_policy(text("restart")),
        "Runtime": text("runtime"),
        "SecurityOpt": [_security_opt(item) for item in items("security-opt")],
        "ShmSize": arguments.number("shm-size") or 0,
        "StorageOpt": _pairs(items("storage-opt")),
        "Sysctls": _sysctls(items("sysctl")),
        "Tmpfs": {path: options for path, _, options in (item.partition(":") for item in items("tmpfs"))},
        "Ulimits": [_ulimit(item) for item in items("ulimit")],
        "UsernsMode": text("userns"),
        "UTSMode": text("uts"),
        "VolumeDriver": text("volume-driver"),
        "VolumesFrom": items("volumes-from"),
    }


def resources(arguments: Arguments) -> dict[str, Any]:
    """The part of limits, of ``update`` as well."""
    number = arguments.number
    found: dict[str, Any] = {
        "BlkioWeight": number("blkio-weight") or 0,
        "CpuPeriod": number("cpu-period") or 0,
        "CpuQuota": number("cpu-quota") or 0,
        "CpuRealtimePeriod": number("cpu-rt-period") or 0,
        "CpuRealtimeRuntime": number("cpu-rt-runtime") or 0,
        "CpuShares": number("cpu-shares") or 0,
        "CpusetCpus": arguments.text("cpuset-cpus"),
        "CpusetMems": arguments.text("cpuset-mems"),
        "Memory": number("memory") or 0,
        "MemoryReservation": number("memory-reservation") or 0,
        "MemorySwap": number("memory-swap") or 0,
        "PidsLimit": number("pids-limit"),
    }
    if cpus := arguments.text("cpus"):
        found["NanoCpus"] = round(float(cpus) * 10**9)
    return found


def restart_policy(text: str) -> dict[str, Any]:
    """``on-failure:3`` and the like."""
    name, _, count = text.partition(":")
    if count and not count.isdecimal():
        raise UsageError(
            f"invalid restart policy: {text}", hint="no, on-failure[:N], always or unless-stopped"
        )
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _pairs(entries: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}


def _sysctls(entries: list[str]) -> dict[str, str]:
    for entry in entries:
        if "=" not in entry:
            raise UsageError(f'invalid argument "{entry}" for "--sysctl" flag: KEY=value expected')
    return _pairs(entries)


def _environment(arguments: Arguments, env: Mapping[str, str]) -> list[str]:
    from composer.cli.project.exec import resolve_env

    found: list[str] = []
    for path in arguments.list("env-file"):
        found += resolve_env(env_lines(path), env)
    return found + resolve_env(arguments.list("env"), env)


def _labels(arguments: Arguments) -> dict[str, str]:
    entries: list[str] = []
    for path in arguments.list("label-file"):
        entries += lines_of(path)
    entries += arguments.list("label")
    for entry in entries:
        if entry.startswith("="):
            raise UsageError(f'invalid argument "{entry}" for "-l, --label" flag: invalid label: empty name')
    return _pairs(entries)


def env_lines(path: str) -> list[str]:
    """Lines of a file of environment variables. Raises UsageError for one that has no name, or blanks in it."""
    lines = lines_of(path)
    for line in lines:
        name = line.partition("=")[0]
        if not name:
            raise UsageError(f"invalid env file ({path}): no variable name on line '{line}'")
        if name != "".join(name.split()):
            raise UsageError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
    return lines


def lines_of(path: str) -> list[str]:
    """Lines of an env or label file that say something."""
    with open(path, encoding="utf-8") as file:
        return [line for line in (line.strip("\r\n").lstrip() for line in file) if line and line[0] != "#"]


_HEALTH = ("health-cmd", "health-interval", "health-retries", "health-start-period", "health-timeout")


def _healthcheck(arguments: Arguments) -> dict[str, Any]:
    if arguments.is_on("no-healthcheck"):
        if any(arguments.has(name) for name in _HEALTH):
            raise UsageError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    from composer.api.moments import parse_duration

    found: dict[str, Any] = {}
    if command := arguments.text("health-cmd"):
        found["Test"] = ["CMD-SHELL", command]
    for field, flag in (
        ("Interval", "health-interval"),
        ("Timeout", "health-timeout"),
        ("StartPeriod", "health-start-period"),
        ("StartInterval", "health-start-interval"),
    ):
        if text := arguments.text(flag):
            try:
                found[field] = parse_duration(text)
            except ValueError:
                raise UsageError(f'invalid value for --{flag}: "{text}"', hint="for instance 30s") from None
    if (retries := arguments.number("health-retries")) is not None:
        found["Retries"] = retries
    return found


def _ports(arguments: Arguments) -> tuple[dict[str, Any], dict[str, list[dict[str, str]]]]:
    exposed: dict[str, Any] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for text in arguments.list("publish"):
        from composer.compose.ports import parse_port

        try:
            ports = parse_port(text)
        except ValueError as error:
            raise UsageError(f'invalid value for --publish: "{text}": {error}') from None
        for port in ports:
            key = f"{port['target']}/{port.get('protocol', 'tcp')}"
            exposed[key] = {}
            binding = {"HostIp": port.get("host_ip", ""), "HostPort": str(port.get("published", ""))}
            bindings.setdefault(key, []).append(binding)
    for text in arguments.list("expose"):
        number, _, protocol = text.partition("/")
        first, _, last = number.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise UsageError(f'invalid value for --expose: "{text}"')
        for port_number in range(int(first), int(last or first) + 1):
            exposed[f"{port_number}/{protocol or 'tcp'}"] = {}
    return exposed, bindings


def _networks(names: list[str], arguments: Arguments) -> tuple[str, dict[str, Any]]:
    """The mode, and each network's endpoint."""
    endpoints: dict[str, Any] = {}
    first = ""
    for text in names:
        options = {"name": text}
        if "=" in text:
            options = _pairs(text.split(","))
        name = options.get("name", "")
        first = first or name
        if name in ("host", "none") or name.startswith("container:"):
            continue
        aliases = [value for key, value in options.items() if key == "alias"]
        address = {"IPv4Address": options.get("ip", ""), "IPv6Address": options.get("ip6", "")}
        endpoints[name] = {"Aliases": aliases, "IPAMConfig": address}
        if mac := options.get("mac-address"):
            endpoints[name]["MacAddress"] = mac
        if priority := options.get("gw-priority"):
            endpoints[name]["GwPriority"] = int(priority)
    own: dict[str, Any] = {
        "Aliases": arguments.list("network-alias"),
        "IPAMConfig": {
            "IPv4Address": arguments.text("ip"),
            "IPv6Address": arguments.text("ip6"),
            "LinkLocalIPs": arguments.list("link-local-ip"),
        },
        "MacAddress": arguments.text("mac-address"),
    }
    for text in (own["MacAddress"], *(endpoint.get("MacAddress", "") for endpoint in endpoints.values())):
        digits = text.replace("-", ":").split(":")
        if text and (len(digits) != 6 or any(len(two) != 2 or not two.isalnum() for two in digits)):
            raise UsageError(f"{text} is not a valid mac address")
    if any(own["Aliases"]) or any(own["IPAMConfig"].values()) or own["MacAddress"]:
        if not first or first not in endpoints:
            endpoints[first or "bridge"] = own
        else:
            endpoint = endpoints[first]
            endpoint["Aliases"] += own["Aliases"]
            endpoint["IPAMConfig"] |= {k: v for k, v in own["IPAMConfig"].items() if v}
            endpoint["MacAddress"] = endpoint.get("MacAddress") or own["MacAddress"]
    return first or "default", endpoints


def _device_value(text: str, field: str) -> dict[str, Any]:
    path, _, value = text.rpartition(":")
    from composer.cli.output.units import parse_size

    try:
        return {"Path": path, field: parse_size(value)}
    except ValueError:
        raise UsageError(f'invalid value "{text}"', hint="PATH:VALUE expected") from None


def _ulimit(text: str) -> dict[str, Any]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise UsageError(f'invalid ulimit "{text}"', hint="NAME=SOFT[:HARD] expected") from None


def _security_opt(text: str) -> str:
    """A seccomp profile is read here: the engine gets its text."""
    key, separator, value = text.partition("=")
    if key != "seccomp" or not separator or value in ("unconfined", "builtin"):
        return text
    try:
        with open(value, encoding="utf-8") as file:
            return f"seccomp={file.read()}"
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise UsageError(f"opening seccomp profile ({value}) failed: open {value}: {reason}") from None
