"""The Celery tasks: an id comes in, the pipeline does the rest. The names are in `shared.queue`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from celery import current_app, shared_task

from shared.queue import TASK_NAMES
from workers import pipeline
from workers.mail import REPLY_TIMEOUT

F = TypeVar("F", bound=Callable[..., Any])


#: Celery's last resort must lie beyond what a mail server may take to answer the final dot.
MAIL_LIMITS = {"soft_time_limit": REPLY_TIMEOUT + 300, "time_limit": REPLY_TIMEOUT + 330}


def _task(kind: str, **limits: float) -> Callable[[F], F]:
    """Celery's decorator, which has no annotations."""
    return cast("Callable[[F], F]", shared_task(name=TASK_NAMES[kind], **limits))


@_task("render")
def render(task_id: int) -> None:
    """Capture one dashboard."""
    pipeline.render(task_id, current_app.hand.deps())


@_task("assemble")
def assemble(task_id: int) -> None:
    """Make the documents of a run."""
    pipeline.assemble(task_id, current_app.hand.deps())


@_task("deliver", **MAIL_LIMITS)
def deliver(task_id: int) -> None:
    """Send one mail."""
    pipeline.deliver(task_id, current_app.hand.deps())
