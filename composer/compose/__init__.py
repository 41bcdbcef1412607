"""Compose files: YAML text and environment in, a frozen :class:`Project` out. Pure; see ``loader`` for the stages."""
