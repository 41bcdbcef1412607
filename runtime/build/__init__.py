"""Images from Dockerfiles: the frontend (text to instructions) and what an instruction makes."""
