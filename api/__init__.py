"""The HTTP API: validate, authorise, store, answer.

It speaks Grafana Enterprise's Reporting API. It never renders and never mails: it writes rows
and rings doorbells. Start at `api.app.create_app`, then read `api.reports` for the main path.
"""
