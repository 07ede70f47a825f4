"""The Celery tasks: an id comes in, the pipeline does the rest. The names are in `shared.queue`."""

from __future__ import annotations

from celery import shared_task
from celery import current_app

from shared.queue import TASK_NAMES
from workers import pipeline


@shared_task(name=TASK_NAMES["render"])
def render(task_id: int) -> None:
    """Capture one dashboard."""
    pipeline.render(task_id, current_app.hand.deps())


@shared_task(name=TASK_NAMES["assemble"])
def assemble(task_id: int) -> None:
    """Make the documents of a run."""
    pipeline.assemble(task_id, current_app.hand.deps())


@shared_task(name=TASK_NAMES["deliver"])
def deliver(task_id: int) -> None:
    """Send one mail."""
    pipeline.deliver(task_id, current_app.hand.deps())
