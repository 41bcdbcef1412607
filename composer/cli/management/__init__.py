"""Commands about what the engine has, whoever made it: Docker's management commands, and the engine itself."""
