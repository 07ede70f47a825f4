"""The Celery beat: turn due schedules into runs, ring lost doorbells again, reap dead leases.

Start at `beat.scheduler` (how Celery calls us) and `beat.tick` (what one tick does).
"""
