"""Every command there is: where its table and code are, and one line about it. Nothing is imported before it
is needed."""

from __future__ import annotations

from composer.cli.arguments import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Command

SUMMARY = "Docker Compose without Docker: define and run multi-container applications"
USAGE = "[OPTIONS] COMMAND"

DRY_RUN = Flag(
    "dry-run",
    help="Show what would be done, and why; do nothing",
    is_hidden=True,
)
"""Docker Compose takes it in front of and behind every command."""

REHEARSED = frozenset({"create", "down", "imagetools", "scale", "up"})
"""Commands that can say what they would do."""

READING = frozenset("config convert events images logs ls port ps stats top version volumes wait".split())
"""Commands that change nothing, with or without ``--dry-run``."""

GLOBAL_FLAGS = (
    Flag("all-resources", help="Include all resources, also those that no service uses"),
    Flag(
        "ansi",
        kind="string",
        help='When to print ANSI control characters ("never"|"always"|"auto")',
        default="auto",
    ),
    Flag("compatibility", help="Run in backward compatibility mode"),
    Flag("debug", "D", help="Print every request and every event with its time"),
    Flag("dry-run", help=DRY_RUN.help),
    Flag("env-file", kind="stringArray", help="Another environment file"),
    Flag("file", "f", "stringArray", "Compose files"),
    Flag("parallel", kind="int", help="Maximum of things done side by side, -1 for unlimited", default="-1"),
    Flag("profile", kind="stringArray", help="Profile to enable"),
    Flag("progress", kind="string", help="Type of progress output (auto, tty, plain, json, quiet)"),
    Flag(
        "project-directory",
        kind="string",
        help="Working directory of the project (default: that of the first file)",
    ),
    Flag("project-name", "p", "string", "Project name"),
    Flag("version", "v", help="Show the version"),
)

COMMANDS: dict[str, tuple[str, str]] = {
    "attach": ("attach", "Attach the terminal's streams to a service's running container"),
    "build": ("build", "Build or rebuild services"),
    "__complete": ("completion", "What shells ask to complete a word"),
    "commit": ("cp", "Make an image of a service container's changes"),
    "completion": ("completion", "Print a shell's completion script"),
    "config": ("config_command", "Check, resolve and print the Compose file in canonical form"),
    "convert": ("config_command", "Same as config"),
    "cp": ("cp", "Copy files between a service container and the local file system"),
    "create": ("up", "Create the containers of services"),
    "debug": ("debug", "Look into a container with the programs of this machine"),
    "down": ("down", "Stop and remove containers and networks"),
    "events": ("events", "Show what happens to the project's containers as it happens"),
    "exec": ("exec", "Execute a command in a running container"),
    "export": ("cp", "Write a service container's file system as a tar archive"),
    "images": ("images", "List the images that the project's containers use"),
    "kill": ("lifecycle", "Force services to stop"),
    "login": ("login", "Log in to a registry"),
    "logout": ("login", "Log out of a registry"),
    "logs": ("logs", "Show what containers have written"),
    "ls": ("projects", "List running projects"),
    "pause": ("lifecycle", "Freeze services"),
    "port": ("port", "Print the public port of a private one"),
    "ps": ("ps", "List containers"),
    "publish": ("unavailable", "Publish the application to a registry"),
    "pull": ("pull", "Pull the images of services"),
    "push": ("push", "Push the images that services are built to"),
    "restart": ("lifecycle", "Restart services"),
    "rm": ("rm", "Remove stopped service containers"),
    "run": ("run", "Run a one-off command of a service"),
    "scale": ("up", "Set the number of containers of services"),
    "search": ("search", "Search a registry for images"),
    "shell": ("shell", "Open a shell on the project's networks"),
    "start": ("lifecycle", "Start services"),
    "stats": ("stats", "Show the resources that containers use"),
    "stop": ("lifecycle", "Stop services"),
    "top": ("top", "Show the processes in containers"),
    "unpause": ("lifecycle", "Let frozen services go on"),
    "up": ("up", "Create and start containers"),
    "version": ("version", "Show the version"),
    "volumes": ("volumes", "List the project's volumes"),
    "wait": ("wait", "Wait until containers of services stop"),
    "watch": ("unavailable", "Update containers when files change"),
}
"""Docker Compose's commands, and those for registries: name to module and summary."""

FAMILIES: dict[str, tuple[str, str]] = {
    "bridge": ("unavailable", "Convert Compose files into another model"),
    "builder": ("builder", "Look after the build cache"),
    "container": ("container", "Look after single containers"),
    "engine": ("engine", "Look after the engine itself"),
    "image": ("image", "Look after images"),
    "imagetools": ("imagetools", "Look at, combine and copy what registries have"),
    "manifest": ("manifest", "Put lists of manifests together in registries"),
    "network": ("network", "Look after networks"),
    "system": ("system", "Look at and tidy what the engine keeps"),
    "volume": ("volume", "Look after volumes"),
}
"""Commands with commands below them (Docker's management commands)."""

HIDDEN = frozenset({"__complete", "convert"})


def command(name: str) -> Command:
    """A top-level command's table. Raises KeyError."""
    return _table(COMMANDS[name][0])[name]


def family(name: str) -> dict[str, Command]:
    """The commands below a management command. Raises KeyError."""
    return {
        key: entry for key, entry in _table(FAMILIES[name][0]).items() if entry.usage.startswith(f"{name} ")
    }


def _table(module: str) -> dict[str, Command]:
    table: dict[str, Command] = __import__(f"composer.cli.{module}", fromlist=["COMMANDS"]).COMMANDS
    return table
