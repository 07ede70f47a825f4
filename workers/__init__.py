"""The Celery workers: capture dashboards, assemble documents, deliver mail.

Start at `workers.tasks` (what a message starts) and `workers.pipeline` (what then happens).
"""
