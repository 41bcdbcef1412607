"""Commands about one project: Docker Compose's."""
