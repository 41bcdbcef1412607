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
    "attach": ("project.attach", "Attach the terminal's streams to a service's running container"),
    "build": ("project.build", "Build or rebuild services"),
    "__complete": ("completion", "What shells ask to complete a word"),
    "commit": ("management.cp", "Make an image of a service container's changes"),
    "completion": ("completion", "Print a shell's completion script"),
    "config": ("project.config_command", "Check, resolve and print the Compose file in canonical form"),
    "convert": ("project.config_command", "Same as config"),
    "cp": ("management.cp", "Copy files between a service container and the local file system"),
    "create": ("project.up", "Create the containers of services"),
    "debug": ("project.debug", "Look into a container with the programs of this machine"),
    "down": ("project.down", "Stop and remove containers and networks"),
    "events": ("project.events", "Show what happens to the project's containers as it happens"),
    "exec": ("project.exec", "Execute a command in a running container"),
    "export": ("management.cp", "Write a service container's file system as a tar archive"),
    "images": ("project.images", "List the images that the project's containers use"),
    "kill": ("project.lifecycle", "Force services to stop"),
    "login": ("registries.login", "Log in to a registry"),
    "logout": ("registries.login", "Log out of a registry"),
    "logs": ("project.logs", "Show what containers have written"),
    "ls": ("project.projects", "List running projects"),
    "pause": ("project.lifecycle", "Freeze services"),
    "port": ("project.port", "Print the public port of a private one"),
    "ps": ("project.ps", "List containers"),
    "publish": ("unavailable", "Publish the application to a registry"),
    "pull": ("project.pull", "Pull the images of services"),
    "push": ("project.push", "Push the images that services are built to"),
    "restart": ("project.lifecycle", "Restart services"),
    "rm": ("project.rm", "Remove stopped service containers"),
    "run": ("project.run", "Run a one-off command of a service"),
    "scale": ("project.up", "Set the number of containers of services"),
    "search": ("registries.search", "Search a registry for images"),
    "shell": ("project.shell", "Open a shell on the project's networks"),
    "start": ("project.lifecycle", "Start services"),
    "stats": ("project.stats", "Show the resources that containers use"),
    "stop": ("project.lifecycle", "Stop services"),
    "top": ("project.top", "Show the processes in containers"),
    "unpause": ("project.lifecycle", "Let frozen services go on"),
    "up": ("project.up", "Create and start containers"),
    "version": ("project.version", "Show the version"),
    "volumes": ("project.volumes", "List the project's volumes"),
    "wait": ("project.wait", "Wait until containers of services stop"),
    "watch": ("unavailable", "Update containers when files change"),
}
"""Docker Compose's commands, and those for registries: name to module and summary."""

FAMILIES: dict[str, tuple[str, str]] = {
    "bridge": ("unavailable", "Convert Compose files into another model"),
    "builder": ("management.builder", "Look after the build cache"),
    "buildx": ("management.buildx", "Build images, as with Docker"),
    "container": ("management.container", "Look after single containers"),
    "engine": ("management.engine", "Look after the engine itself"),
    "image": ("management.image", "Look after images"),
    "imagetools": ("registries.imagetools", "Look at, combine and copy what registries have"),
    "manifest": ("registries.manifest", "Put lists of manifests together in registries"),
    "network": ("management.network", "Look after networks"),
    "system": ("management.system", "Look at and tidy what the engine keeps"),
    "volume": ("management.volume", "Look after volumes"),
}
"""Commands with commands below them (Docker's management commands)."""

APART = {
    "container": {
        "create": "management.container_run",
        "exec": "management.container_exec",
        "run": "management.container_run",
    }
}
"""Commands below one of these that are found without what all the others of their family import."""

ELSEWHERE = {
    **{name: f"container {name}" for name in ("diff", "inspect", "rename", "update")},
    **{name: f"image {name}" for name in ("history", "import", "load", "save", "tag")},
    "info": "system info",
    "rmi": "image rm",
}
"""Docker's short forms that are not Docker Compose's: name to the command that does it here."""

HIDDEN = frozenset({"__complete", "convert"})


def command(name: str) -> Command:
    """A top-level command's table. Raises KeyError."""
    return _table(COMMANDS[name][0])[name]


def family(name: str) -> dict[str, Command]:
    """The commands below a management command. Raises KeyError."""
    return {
        key: entry for key, entry in _table(FAMILIES[name][0]).items() if entry.usage.startswith(f"{name} ")
    }


def apart(name: str, below: str) -> Command | None:
    """A command below a management command, if it can be had by itself."""
    module = APART.get(name, {}).get(below)
    return _table(module)[below] if module else None


def _table(module: str) -> dict[str, Command]:
    table: dict[str, Command] = __import__(f"composer.cli.{module}", fromlist=["COMMANDS"]).COMMANDS
    return table
