"""``image build`` (``builder build``): an image from a Dockerfile, without a Compose file."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

BUILD = "/composer/v1/build"
_CONTENTS = {
    "local": "the image's files",
    "tar": "the image's files",
    "oci": "an OCI image",
    "docker": "a Docker image",
}
"""What an output that is written has in it."""
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


def run_image_build(session: Session, arguments: Arguments) -> int:
    """Build, and write what was asked for: the id with ``--quiet``, the files that flags name."""
    import os
    from contextlib import nullcontext

    from composer.cli.management.build_calls import answer, parse_call
    from composer.cli.management.build_files import spooled_input, stream_of_output
    from composer.cli.project.build_debug import debugging

    if arguments.text("builder") not in ("", "default"):
        raise UsageError(
            "--builder is not available in composer: there is one builder, the engine's", is_flag=True
        )
    call = parse_call(arguments.text("call") or ("check" if arguments.is_on("check") else "build"))
    body = build_request(arguments, dict(session.env))
    quiet = arguments.is_on("quiet")
    body["call"] = call.name
    looked_at = debugging(session, body) if arguments.is_on("debug") else nullcontext()
    spooled = spooled_input(body, arguments.words[0], arguments.text("file"))
    with looked_at, spooled, stream_of_output(body) as streamed:
        events = session.client.stream("POST", BUILD, body=body)
        mode = arguments.text("progress") or session.env.get("BUILDKIT_PROGRESS", "")
        data = _show(session, events, quiet=quiet, mode=mode)
    if call.name != "build":
        text, status = answer(call, data)
        session.write(text)
        return status
    for flag, text in (
        ("iidfile", data["Id"]),
        ("metadata-file", _json(data["Metadata"])),
    ):
        if path := arguments.text(flag):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
    if quiet and "-" not in [part for one in arguments.list("output") for part in one.split("=")]:
        session.write(f"{data['Id']}\n")
    elif session.progress_mode(quiet=quiet, mode=mode) in ("plain", "tty"):  # not among objects for machines
        for line in made_lines(body["tags"], data, streamed, os.getcwd()):
            session.write_status(f"{line}\n")
    return 0


def made_lines(tags: list[str], data: Mapping[str, Any], streamed: str, directory: str) -> Iterator[str]:
    """What has come of a build: images by name and id, and what was written where, as it is called in ``directory``;
    not of what went to the standard output through the file ``streamed``."""
    short = data["Id"].removeprefix("sha256:")[:12]
    if any(output["IsImage"] for output in data["Outputs"]):
        yield from (f"{name}  {short}" for name in tags)
        if not tags:
            yield f"image without a name  {short}"
    for output in data["Outputs"]:
        if output["Type"] == "cacheonly":
            yield "the build cache, as asked: no image, no files"
        elif output["Dest"] and output["Dest"] != streamed:
            what = "a directory" if output["IsDirectory"] else "a file"
            yield f"{_near(output['Dest'], directory)}  {what} with {_CONTENTS[output['Type']]}"


def _near(path: str, directory: str) -> str:
    """A path as it is said from ``directory``."""
    below = path.removeprefix(f"{directory.rstrip('/')}/")
    return f"./{below}" if below != path else path


def build_request(arguments: Arguments, env: Mapping[str, str]) -> dict[str, Any]:
    """``ImageBuild`` of ``composer.engine.builds.requests`` but for what comes from the standard input. Raises
    UsageError."""
    from composer.cli.project.build import absolute_agents, build_arguments

    args = {name: env[name] for word in _PROXIES for name in (word, word.upper()) if name in env}
    args |= build_arguments(arguments.list("build-arg"), dict(env))
    if "SOURCE_DATE_EPOCH" in env:
        args.setdefault("SOURCE_DATE_EPOCH", env["SOURCE_DATE_EPOCH"])
    outputs = arguments.list("output")
    if arguments.is_on("push"):
        outputs = [*outputs, "type=registry"]
    if arguments.is_on("load"):
        outputs = [*outputs, "type=docker"]
    files, values = _secrets(arguments.list("secret"), env)
    context = arguments.words[0]
    file = arguments.text("file")
    return {
        "context": "" if context == "-" else _place(context),
        "dockerfile": "" if file == "-" else _dockerfile(file, context),
        "target": arguments.text("target"),
        "tags": arguments.list("tag"),
        "args": args,
        "labels": _pairs(arguments.list("label"), "label"),
        "contexts": {
            name: _place(value)
            for name, value in _pairs(arguments.list("build-context"), "build-context").items()
        },
        "secret_files": files,
        "secret_values": values,
        "agents": absolute_agents(arguments.list("ssh")),
        "allow": [word for one in arguments.list("allow") for word in one.split(",")],
        "no_cache": arguments.is_on("no-cache"),
        "no_cache_filter": [word for one in arguments.list("no-cache-filter") for word in one.split(",")],
        "pull": arguments.is_on("pull"),
        "network": arguments.text("network"),
        "extra_hosts": [_host(word) for word in arguments.list("add-host")],
        "shm_size": arguments.number("shm-size") or 0,
        "ulimits": _ulimits(arguments.list("ulimit")),
        "platforms": [word for one in arguments.list("platform") for word in one.split(",") if word],
        "outputs": [_absolute_output(one) for one in outputs],
        "annotations": arguments.list("annotation"),
        "explain": arguments.is_on("explain"),
        "cache_from": [_absolute_cache(one) for one in arguments.list("cache-from")],
        "cache_to": [_absolute_cache(one) for one in arguments.list("cache-to")],
        **_attestations(arguments),
        "quiet": arguments.is_on("quiet"),
        "env": dict(env),
    }


def _place(text: str) -> str:
    """A local path made absolute; what has a scheme, or is git's, as it is."""
    import os

    for scheme in ("oci-layout://",):
        if text.startswith(scheme):
            return scheme + os.path.abspath(text[len(scheme) :])
    is_remote = "://" in text or text.startswith(("git@", "github.com/"))
    return text if is_remote and not os.path.exists(text) else os.path.abspath(text)


def _dockerfile(file: str, context: str) -> str:
    """``--file``: from here when the context is a local directory, from the context otherwise."""
    import os

    if not file or "://" in file:
        return file
    return os.path.abspath(file) if context != "-" and os.path.isdir(context) else file


def _absolute_cache(text: str) -> str:
    """A cache with its directory made absolute."""
    import os

    parts = [part.partition("=") for part in text.split(",")]
    return ",".join(
        f"{key}={os.path.abspath(value)}" if key in ("src", "dest") and value else f"{key}{equals}{value}"
        for key, equals, value in parts
    )


def _absolute_output(text: str) -> str:
    """An output with its destination made absolute."""
    import os

    if "=" not in text:
        return text if text == "-" else f"type=local,dest={os.path.abspath(text)}"
    parts = []
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key.strip() == "dest" and value not in ("", "-"):
            part = f"dest={os.path.abspath(value)}"
        parts.append(part)
    return ",".join(parts)


def _pairs(words: list[str], flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or (not equals and flag != "label"):
            raise UsageError(f'invalid --{flag} "{word}": write NAME=VALUE', is_flag=True)
        found[name] = value
    return found


def _host(word: str) -> str:
    name, equals, address = word.partition("=")
    if not equals:
        name, equals, address = word.partition(":")
    if not name or not address:
        raise UsageError(f'bad format for add-host: "{word}"', is_flag=True)
    return f"{name}={address.strip('[]')}"


def _ulimits(words: list[str]) -> dict[str, list[int]]:
    found = {}
    for word in words:
        name, _, text = word.partition("=")
        soft, _, hard = text.partition(":")
        try:
            found[name] = [int(soft), int(hard or soft)]
        except ValueError:
            raise UsageError(f'invalid --ulimit "{word}": write NAME=SOFT[:HARD]', is_flag=True) from None
    return found


def _secrets(words: list[str], env: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """``id=NAME[,src=FILE|,env=VARIABLE]``: files, and values."""
    import os

    files: dict[str, str] = {}
    values: dict[str, str] = {}
    for word in words:
        options = dict(part.partition("=")[::2] for part in word.split(","))
        kind = options.pop("type", "")
        name = options.pop("id", "")
        source = options.pop("src", "") or options.pop("source", "")
        variable = options.pop("env", "")
        if options or not name or kind not in ("", "file", "env"):
            raise UsageError(f'invalid --secret "{word}": write id=NAME,src=FILE or id=NAME,env=VARIABLE')
        if kind == "env":
            source, variable = "", variable or source or name
        if not source and not variable:
            variable = name if name in env and kind != "file" else ""
            source = "" if variable else name
        if variable:
            if variable not in env:
                raise UsageError(f'--secret "{word}": the variable {variable} is not set')
            values[name] = env[variable]
        else:
            files[name] = os.path.abspath(source)
    return files, values


def _attestations(arguments: Arguments) -> dict[str, str]:
    """Parameters by type; the shorthands win."""
    found = {"provenance": "", "sbom": ""}
    for word in arguments.list("attest"):
        parts = [part.strip() for part in word.split(",")]
        kind = next((part[5:] for part in parts if part.startswith("type=")), "")
        if kind not in found:
            raise UsageError(f'invalid --attest "{word}": the type is provenance or sbom', is_flag=True)
        found[kind] = ",".join(part for part in parts if not part.startswith("type=")) or "true"
    return {kind: arguments.text(kind) or text for kind, text in found.items()}


def _show(session: Session, events: Iterator[dict[str, Any]], *, quiet: bool, mode: str) -> dict[str, Any]:
    """Render what happens; the data of the result. Raises ComposerError."""
    from composer.cli.session import error_of
    from runtime.errors import ComposerError

    renderer = session.renderer("Building", quiet=quiet, mode=mode)
    try:
        for event in events:
            kind = event["type"]
            if kind == "step":
                renderer.step(event)
            elif kind == "warning" and not quiet and not session.ignores(event["message"]):
                renderer.warning(event["message"])
            elif kind == "failed-step" and session.on_failed_step is not None:
                renderer.pause()
                session.on_failed_step(event)
            elif kind == "result":
                data: dict[str, Any] = event["data"]
                return data
            elif kind == "error":
                raise error_of(event)
    finally:
        renderer.close()
    raise ComposerError("the engine ended before the build did", hint="see `composer engine logs`")


def _json(value: object) -> str:
    import json

    return json.dumps(value, indent=2) + "\n"


def _refused(name: str, kind: str, why: str, short: str = "") -> Flag:
    return Flag(name, short, kind, "", refusal=why, is_hidden=True)


_NO_LIMITS = "steps are not limited; what limits the engine limits them"
_FLAGS = (
    Flag("add-host", kind="list", help="Add a custom host-to-IP mapping (host:ip)"),
    Flag(
        "allow", kind="stringArray", help="Allow what is dangerous (network.host, security.insecure, device)"
    ),
    Flag("annotation", kind="stringArray", help="Add annotation to the image"),
    Flag("attest", kind="stringArray", help="Attestation parameters (type=sbom|provenance,disabled=true)"),
    Flag("build-arg", kind="list", help="Set build-time variables"),
    Flag("build-context", kind="stringArray", help="Additional build contexts (name=path)"),
    Flag("builder", kind="string", help="Set builder to use (there is one: default)", is_hidden=True),
    Flag("explain", help="Say of each step why it was done, or why not"),
    Flag("cache-from", kind="stringArray", help="External cache sources"),
    Flag("cache-to", kind="stringArray", help="Cache export destinations"),
    Flag("call", kind="string", help="Set method for evaluating build (check, outline, targets)"),
    _refused("cgroup-parent", "string", _NO_LIMITS),
    Flag("check", help="Look at the Dockerfile and build nothing"),
    Flag("compress", help="Compress the build context (it is read in place)", is_hidden=True),
    _refused("cpu-period", "int", _NO_LIMITS),
    _refused("cpu-quota", "int", _NO_LIMITS),
    _refused("cpu-shares", "int", _NO_LIMITS, "c"),
    _refused("cpuset-cpus", "string", _NO_LIMITS),
    _refused("cpuset-mems", "string", _NO_LIMITS),
    Flag("debug", "D", help="Open a shell in a step that fails"),
    Flag("disable-content-trust", help="Skip image verification", default="true", is_hidden=True),
    Flag("file", "f", "string", "Name of the Dockerfile (default: PATH/Dockerfile)"),
    Flag("force-rm", help="Always remove intermediate containers", is_hidden=True),
    Flag("iidfile", kind="string", help="Write the image ID to a file"),
    _refused("isolation", "string", "it is for Windows"),
    Flag("label", kind="list", help="Set metadata for an image"),
    Flag("load", help="Keep the result as an image here (as without any output)"),
    _refused("memory", "bytes", _NO_LIMITS, "m"),
    _refused("memory-swap", "bytes", _NO_LIMITS),
    Flag("metadata-file", kind="string", help="Write build result metadata to a file"),
    Flag("network", kind="string", help="Networking mode for the RUN instructions during build"),
    Flag("no-cache", help="Do not use cache when building the image"),
    Flag("no-cache-filter", kind="stringArray", help="Do not cache specified stages"),
    Flag("output", "o", "stringArray", "Output destination (type=local,dest=path)"),
    Flag("platform", kind="stringArray", help="Set target platform for build"),
    _refused("policy", "stringArray", "builds are not judged by policies"),
    Flag("progress", kind="string", help="Type of progress output (auto, plain, tty, quiet, rawjson)"),
    Flag("provenance", kind="string", help="Shorthand for --attest=type=provenance"),
    Flag("pull", help="Always attempt to pull all referenced images"),
    Flag("push", help="Push the result to its registry"),
    Flag("quiet", "q", help="Suppress the build output and print image ID on success"),
    Flag("rm", help="Remove intermediate containers (always)", default="true", is_hidden=True),
    Flag("sbom", kind="string", help="Shorthand for --attest=type=sbom"),
    Flag("secret", kind="stringArray", help="Secret to expose to the build (id=mysecret,src=/local/secret)"),
    _refused("security-opt", "strings", "steps are confined as containers are"),
    Flag("shm-size", kind="bytes", help="Size of /dev/shm"),
    _refused("squash", "", "layers are what the cache is made of"),
    Flag(
        "ssh", kind="stringArray", help="SSH agent or keys to expose (default|<id>[=<socket>|<key>[,<key>]])"
    ),
    Flag("tag", "t", "list", "Name and optionally a tag (name:tag)"),
    Flag("target", kind="string", help="Set the target build stage to build"),
    Flag("ulimit", kind="ulimit", help="Ulimit options"),
)


def build_command(family: str) -> Command:
    """The command as a part of ``family``."""
    return Command(
        f"{family} build [OPTIONS] PATH | URL | -",
        "Build an image from a Dockerfile",
        run_image_build,
        _FLAGS,
        at_least=1,
        at_most=1,
    )
