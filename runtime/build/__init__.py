"""Images from Dockerfiles, in three rooms that do not know each other: frontend, solver and worker. Here is what
they share."""
