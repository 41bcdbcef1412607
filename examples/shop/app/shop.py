"""What both programs of the shop's image need: a connection to the database."""

import os
from pathlib import Path

import psycopg
from psycopg.rows import dict_row


def database():
    password = Path("/run/secrets/db-password").read_text()
    return psycopg.connect(os.environ["DATABASE"], password=password, autocommit=True, row_factory=dict_row)
