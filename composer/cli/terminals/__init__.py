"""This command's terminal, and its conversation with a process in a container."""
