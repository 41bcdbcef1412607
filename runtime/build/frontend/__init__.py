"""The language of Dockerfiles. Pure: text in, frozen values out."""
