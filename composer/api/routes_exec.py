"""Execs: commands in running containers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from composer.api import streams
from composer.api.interface import AttachSession, Engine
from composer.api.messages import Answer, Request, json_response
from composer.api.routes_containers import detach_keys, terminal_size
from composer.api.routing import Route
from composer.api.wire import ExecBody, ExecStartBody, console_size, decode_body
from composer.engine.model import ExecConfig
from runtime.container.config_rules import check_environment
from runtime.container.shim_client import LaunchError
from runtime.errors import InvalidArgument


def routes(engine: Engine) -> list[Route]:
    own = ExecRoutes(engine)
    return [
        Route("POST", "/containers/{id}/exec", own.create),
        Route("POST", "/exec/{id}/start", own.start),
        Route("POST", "/exec/{id}/resize", own.resize),
        Route("GET", "/exec/{id}/json", own.inspect),
        Route("POST", "/composer/v1/containers/{id}/debug", own.debug),
        Route("POST", "/composer/v1/containers/{id}/exec", own.converse),
        Route("POST", "/composer/v1/exec/{id}/again", own.again),
    ]


@dataclass(frozen=True, slots=True)
class ExecRoutes:
    engine: Engine

    async def create(self, request: Request) -> Answer:
        config = await _command(request)
        return json_response({"Id": await self.engine.execs.create(request.params["id"], config)}, 201)

    async def debug(self, request: Request) -> Answer:
        body = decode_body(await request.json(dict), ExecBody)
        kind, made = await self.engine.debugging.open(request.params["id"], _config(body))
        return json_response({kind: made}, 201)

    async def converse(self, request: Request) -> Answer:
        """Make one with the id that the client has chosen, and start it: one request less to wait for. What cannot be
        started is an error of the request, and its exit status comes with its output (:data:`streams.EXIT_STATUS`)
        where that is in frames."""
        config = await _command(request)
        exec_id = await self.engine.execs.create(request.params["id"], config, request.query.text("id"))
        state = await self.engine.execs.inspect(exec_id)
        rows, cols = config.console_size
        session = await self.engine.execs.start(exec_id, tty=config.tty, rows=rows, cols=cols)
        assert session is not None
        return _conversation(request, config, session, status=lambda: state.exit_code)

    async def start(self, request: Request) -> Answer:
        """``?refuses=1``: what cannot be started is an error of the request, as everything else is."""
        body = decode_body(await request.json(dict), ExecStartBody)
        exec_id = request.params["id"]
        config = (await self.engine.execs.inspect(exec_id)).config
        rows, cols = console_size(body.console_size) if body.console_size else config.console_size
        try:
            session = await self.engine.execs.start(
                exec_id, detach=body.detach, tty=body.tty, rows=rows, cols=cols
            )
        except LaunchError as error:
            if body.detach or request.query.flag("refuses"):
                raise
            # Docker's clients look at nothing but the stream, and at the exit status after it.
            return streams.say(f"{error.message}\r\n", tty=config.tty, version=request.version)
        if session is None:
            return json_response(None)
        return _conversation(request, config, session)

    async def again(self, request: Request) -> Answer:
        exec_id = request.params["id"]
        config = (await self.engine.execs.inspect(exec_id)).config
        session = await self.engine.execs.again(exec_id)
        return _conversation(request, config, session, takes_input=config.tty)

    async def resize(self, request: Request) -> Answer:
        rows, cols = terminal_size(request)
        await self.engine.execs.resize(request.params["id"], rows, cols)
        return json_response(None)

    async def inspect(self, request: Request) -> Answer:
        state = await self.engine.execs.inspect(request.params["id"])
        config = state.config
        return json_response(
            {
                "ID": state.id,
                "Running": state.running,
                "ExitCode": state.exit_code,
                "ProcessConfig": {
                    "tty": config.tty,
                    "entrypoint": config.cmd[0],
                    "arguments": list(config.cmd[1:]),
                    "privileged": config.privileged,
                    "user": config.user,
                },
                "OpenStdin": config.attach_stdin,
                "OpenStderr": config.attach_stderr,
                "OpenStdout": config.attach_stdout,
                "CanRemove": state.exit_code is not None,
                "OutputLeft": self.engine.execs.has_left(state.id),
                "ContainerID": state.container_id,
                "DetachKeys": config.detach_keys,
                "Pid": state.pid,
            }
        )


def _conversation(
    request: Request,
    config: ExecConfig,
    session: AttachSession,
    *,
    takes_input: bool = True,
    status: Callable[[], int | None] | None = None,
) -> Answer:
    return streams.converse(
        session,
        tty=config.tty,
        stdin=takes_input and config.attach_stdin,
        detach_keys=detach_keys(config.detach_keys),
        version=request.version,
        status=status,
    )


async def _command(request: Request) -> ExecConfig:
    body = decode_body(await request.json(dict), ExecBody)
    if not body.cmd:
        raise InvalidArgument("No exec command specified", hint='Give "Cmd".')
    return _config(body)


def _config(body: ExecBody) -> ExecConfig:
    detach_keys(body.detach_keys)
    check_environment(body.env)
    return ExecConfig(
        cmd=tuple(body.cmd),
        env=tuple(body.env),
        user=body.user,
        working_dir=body.working_dir,
        tty=body.tty,
        console_size=console_size(body.console_size),
        attach_stdin=body.attach_stdin,
        attach_stdout=body.attach_stdout,
        attach_stderr=body.attach_stderr,
        privileged=body.privileged,
        detach_keys=body.detach_keys,
    )
