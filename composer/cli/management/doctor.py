"""``engine doctor``: what this machine lacks for the engine, and the exact fix."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

COLUMN = 9


def run_doctor(session: Session, arguments: Arguments) -> int:
    """Needs no engine, and starts none; 1 when something is missing without which containers cannot be run."""
    from composer import __version__
    from composer.cli.management.engine import is_running
    from runtime.doctor.diagnosis import diagnose
    from runtime.doctor.survey import look
    from runtime.storage.paths import Paths

    paths = Paths.from_environment(session.env, os.geteuid())
    try:
        runs = is_running(session)
    except PermissionError:
        runs = False  # somebody else's: what is looked at is the machine
    engine = session.client.request("GET", "/composer/v1/engine").json()["Version"] if runs else ""
    findings = diagnose(look(paths, engine=engine, version=__version__))
    if arguments.text("format") == "json":
        from composer.api.plain_json import dumps

        for one in findings:
            line = {"Check": one.check, "Status": one.verdict, "Detail": one.detail, "Fix": one.fix}
            session.write(dumps(line).decode() + "\n")
    else:
        for one in findings:
            session.write(f"{one.verdict:<{COLUMN}}{one.check}: {one.detail}\n")
            if one.fix:
                session.write(f"{'':<{COLUMN}}  fix: {one.fix}\n")
    return int(any(one.verdict == "missing" for one in findings))
