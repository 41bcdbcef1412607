"""Build checks: what is suspicious in a Dockerfile that can be built (Docker's reference, "Build checks"). Pure."""
