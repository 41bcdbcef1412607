"""Registries: reaching them, and what they are asked (OCI distribution specification)."""
