"""The shop's web service: GET / lists the stock, POST /buy/NAME takes one of it."""

import os

import redis
from flask import Flask
from shop import database
from waitress import serve

app = Flask(__name__)
cache = redis.Redis(os.environ["CACHE"])


@app.get("/")
def stock():
    with database() as db:
        rows = db.execute("SELECT name, stock FROM product ORDER BY name").fetchall()
    return {"visits": cache.incr("visits"), "stock": {row["name"]: row["stock"] for row in rows}}


@app.post("/buy/<name>")
def buy(name):
    with database() as db:
        left = db.execute(
            "UPDATE product SET stock = stock - 1 WHERE name = %s AND stock > 0 RETURNING stock", [name]
        ).fetchone()
    if left is None:
        return {"error": f"no {name} left"}, 404
    return {"bought": name, "left": left["stock"]}


print("web: listening on port 8000", flush=True)
serve(app, listen="*:8000", threads=8)
