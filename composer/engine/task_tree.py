"""The core's tasks, for people who want to know what it does, or why it does not end."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import trio


def task_tree() -> list[str]:
    """The names of all tasks, as an indented tree."""
    return [f"{'  ' * depth}{task.name}" for task, depth in _walk()]


def task_stacks() -> str:
    """What each task that is no mere parent waits for: its name and its frames, the innermost last."""
    parts = []
    for task, _ in _walk():
        if task.child_nurseries and any(nursery.child_tasks for nursery in task.child_nurseries):
            continue
        summary = traceback.StackSummary.extract(task.iter_await_frames())
        parts.append(f"{task.name}\n{''.join(summary.format())}")
    return "".join(parts)


def _walk() -> Iterator[tuple[trio.lowlevel.Task, int]]:
    root = trio.lowlevel.current_root_task()
    waiting = [(root, 0)] if root is not None else []
    while waiting:
        task, depth = waiting.pop()
        yield task, depth
        children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        waiting += [(child, depth + 1) for child in sorted(children, key=lambda t: t.name, reverse=True)]
