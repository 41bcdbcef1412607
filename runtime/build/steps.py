"""The steps that a build is made of, as the frontend says them, the solver orders them and the worker does them.

A step names what it needs by holding it: together they are a graph without circles, with sources (images, contexts) at
its beginning.
"""

from __future__ import annotations
