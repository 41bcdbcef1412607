"""``login`` and ``logout``: who one is to a registry, kept where Docker keeps it."""

from __future__ import annotations

import sys

from composer.api.client import API
from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session
    from runtime.image.registry.authentication import Credentials


def run_login(session: Session, arguments: Arguments) -> int:
    from runtime.image.registry.credentials import (
        configuration_file,
        load_credentials,
        registry_domain,
        server_name,
        store_credentials,
    )

    domain = registry_domain(arguments.words[0] if arguments.words else "")
    given = _given(session, arguments)
    is_anybody = given is None and not arguments.text("username") and not arguments.text("password")
    known = load_credentials(session.env, domain) if is_anybody else None
    if known is not None:
        whose = f" [Username: {known.username}]" if known.username else ""
        session.write(f"Authenticating with existing credentials...{whose}\n")
    credentials = given or known or _ask(domain, arguments.text("username"), arguments.text("password"))
    body = {
        "username": credentials.username,
        "password": credentials.password,
        "identitytoken": credentials.identity_token,
        "serveraddress": server_name(domain),
    }
    answer = session.client.request("POST", f"{API}/auth", None, body).json()
    if store_credentials(session.env, domain, credentials) and known is None:
        session.write_status(
            f"WARNING! Your password is stored unencrypted in {configuration_file(session.env)}.\n"
            "A credential helper (credsStore in that file) would keep it safe.\n"
        )
    session.write(f"{answer['Status']}\n")
    return 0


def _given(session: Session, arguments: Arguments) -> Credentials | None:
    """What the flags say; None when a person has to be asked or is known already."""
    from runtime.image.registry.authentication import Credentials

    user, password = arguments.text("username"), arguments.text("password")
    if arguments.is_on("password-stdin"):
        if password:
            raise UsageError("--password and --password-stdin are mutually exclusive")
        if not user:
            raise UsageError("Must provide --username with --password-stdin")
        password = sys.stdin.read().rstrip("\r\n")
        if not password:
            raise UsageError("--password-stdin: there is no password on the standard input")
    elif password:
        session.write_status("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    return Credentials(user, password) if user and password else None


def _ask(domain: str, user: str, password: str) -> Credentials:
    from getpass import getpass

    from runtime.errors import ComposerError
    from runtime.image.registry.authentication import Credentials

    if not sys.stdin.isatty():
        raise ComposerError(
            "cannot ask for a name and password: the standard input is not a terminal",
            hint="composer login -u NAME --password-stdin SERVER < FILE",
        )
    try:
        user = user or input(f"Username for {domain}: ").strip()
        password = password or (getpass("Password: ") if user else "")
    except EOFError:
        user = ""
    if not user or not password:
        raise ComposerError("a name and a password are needed to log in")
    return Credentials(user, password)


def run_logout(session: Session, arguments: Arguments) -> int:
    from runtime.image.registry.credentials import erase_credentials, registry_domain, server_name

    domain = registry_domain(arguments.words[0] if arguments.words else "")
    if erase_credentials(session.env, domain):
        session.write(f"Removing login credentials for {server_name(domain)}\n")
    else:
        session.write(f"Not logged in to {server_name(domain)}\n")
    return 0


COMMANDS = {
    "login": Command(
        "login [OPTIONS] [SERVER]",
        "Log in to a registry",
        run_login,
        (
            Flag("password", "p", "string", "Password (seen by everybody who lists processes)"),
            Flag("password-stdin", help="Take the password from the standard input"),
            Flag("username", "u", "string", "User name"),
        ),
        at_most=1,
    ),
    "logout": Command("logout [SERVER]", "Log out of a registry", run_logout, at_most=1),
}
