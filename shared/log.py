"""Logging: one JSON (or text) line per event, with the ids of what it concerns on every line."""

from __future__ import annotations

import logging
import sys

import structlog

from shared import traces
from shared.settings import Settings

bind = structlog.contextvars.bound_contextvars


def configure(settings: Settings, *, process: str) -> None:
    """Send the lines of structlog and of every library to standard error, in one form."""

    def name_process(
        _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        # Not a context variable: the API's threads begin with an empty context.
        event["process"] = process
        event.update(traces.ids())
        return event

    shared_steps: list[structlog.typing.Processor] = [
        name_process,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared_steps,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_steps,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # httpx logs every request with its URL at INFO: too much, and it names dashboards.
    for chatty in ("httpx", "httpcore", "kombu", "amqp", "fontTools", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Celery tells of each task by an id of its own, which leads to no run; what becomes of a task
    # is told by us, with the ids. Its warnings and errors stay.
    for nameless in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(nameless).setLevel(logging.WARNING)
    # Python's own warnings would go out as bare text.
    logging.captureWarnings(capture=True)
    # It tells of each try to send; that nothing was sent it tells as an error.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
    # While pictures are made smaller: it copies the colour profile that the pictures of a PDF share
    # once for each, a few hundred bytes, and warns that there are then more objects than before.
    logging.getLogger("pypdf._writer").setLevel(logging.ERROR)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger called `name`; safe to call while importing."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
