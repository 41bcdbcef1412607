"""What a step of a build does to file systems: layers and containers. Knows neither Dockerfiles nor graphs."""
