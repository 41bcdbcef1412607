"""Compose's labels: how containers, networks and volumes say which project and service they belong to.

The names are Docker Compose's, so tools that read them work on what composer made.
"""

from __future__ import annotations

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONEOFF = "com.docker.compose.oneoff"
SLUG = "com.docker.compose.slug"
CONFIG_HASH = "com.docker.compose.config-hash"
DEPENDS_ON = "com.docker.compose.depends_on"
WORKING_DIR = "com.docker.compose.project.working_dir"
CONFIG_FILES = "com.docker.compose.project.config_files"
ENVIRONMENT_FILE = "com.docker.compose.project.environment_file"
VERSION = "com.docker.compose.version"
IMAGE = "com.docker.compose.image"
REPLACE = "com.docker.compose.replace"
NETWORK = "com.docker.compose.network"
VOLUME = "com.docker.compose.volume"
CONFIG_PARTS = "com.docker.compose.x-composer.config-parts"
"""Ours: a digest of each attribute of the configuration, so that a changed one can be named."""

COMPOSE_VERSION = "2.40.3"
"""The Docker Compose release whose labels and behaviour are followed."""
