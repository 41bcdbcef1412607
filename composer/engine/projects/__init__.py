"""Projects: what the commands of Docker Compose mean, in terms of the engine's containers, networks and volumes."""
