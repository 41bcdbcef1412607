"""Brings the database to the newest schema, once for each step, however often it is run."""

from shop import database

STEPS = [
    "CREATE TABLE product (id serial PRIMARY KEY, name text UNIQUE NOT NULL, stock integer NOT NULL)",
    "INSERT INTO product (name, stock) VALUES ('tea', 100), ('coffee', 80), ('cake', 12)",
    "ALTER TABLE product ADD CHECK (stock >= 0)",
]

with database() as db:
    db.execute("CREATE TABLE IF NOT EXISTS schema_step (number integer PRIMARY KEY)")
    done = db.execute("SELECT coalesce(max(number), 0) AS number FROM schema_step").fetchone()["number"]
    for number, step in enumerate(STEPS[done:], done + 1):
        with db.transaction():
            db.execute(step)
            db.execute("INSERT INTO schema_step VALUES (%s)", [number])
        print(f"migrate: step {number}: {step}", flush=True)
    print(f"migrate: the schema is at step {len(STEPS)}", flush=True)
