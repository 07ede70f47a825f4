"""What runs Broadsheet: images, manifests, and the stack that `make demo` starts on one machine.

A Python package only so that the parts under `local/` can be started with `python -m` and imported
by tests.
"""
