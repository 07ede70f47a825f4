"""The embedded stack: what `make demo` and `make test` need besides Broadsheet, on loopback.

Nothing here is part of the service; production installs never import it.
"""
