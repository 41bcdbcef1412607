"""Commands that speak to registries, most of them without the engine."""
