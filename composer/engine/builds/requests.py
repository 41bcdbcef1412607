"""What a build is asked for with: the same for a service's ``build`` section and for a command without a project."""

from __future__ import annotations

from composer.engine.requests import Request

EPOCH = "SOURCE_DATE_EPOCH"
"""The argument, and the variable, that says what time it is in what is built."""


class ImageBuild(Request, frozen=True):
    """One build. Paths are absolute; ``env`` is that of whoever gave the command."""

    context: str = ""
    """A directory, or the URL of a git repository, an archive or a Dockerfile; "": none."""
    archive: str = ""
    """A file with the tar that is the context, in place of ``context``."""
    dockerfile: str = ""
    """Its path, from the context unless it is absolute, or a URL; "": ``Dockerfile``."""
    dockerfile_text: str | None = None
    """Itself, in place of a path."""
    target: str = ""
    tags: tuple[str, ...] = ()
    args: dict[str, str] = {}
    labels: dict[str, str] = {}
    contexts: dict[str, str] = {}
    """Named contexts: a directory, a URL, ``docker-image://`` or ``oci-layout://``."""
    secret_files: dict[str, str] = {}
    secret_values: dict[str, str] = {}
    agents: tuple[str, ...] = ()
    """As ``--ssh`` takes them: ``default`` or ``ID[=SOCKET]``."""
    allow: tuple[str, ...] = ()
    """Entitlements: ``security.insecure``, ``network.host``."""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    network: str = ""
    extra_hosts: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: dict[str, tuple[int, int]] = {}
    """Soft and hard."""
    platforms: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    """As ``--output`` takes them."""
    annotations: tuple[str, ...] = ()
    explain: bool = False
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    provenance: str = ""
    sbom: str = ""
    debug: bool = False
    """The container of a step that fails stays, to be looked at."""
    shows_failed: bool = False
    """Instead: whoever asked is told of a step that fails (``FailedStepEvent``), and looks at it before it is over."""
    call: str = "build"
    """What is to be done; all but ``build`` only look at the Dockerfile: ``check``, ``outline``, ``targets``."""
    quiet: bool = False
    env: dict[str, str] = {}
