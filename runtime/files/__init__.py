"""A container's files from outside: reading, writing and comparing them."""
