"""Figures for operators: `python -m tests.bench.operate`, or `make bench-operate ARGS="metrics"`.

A section is a module of this package with `add_options(parser)` for what it takes, and
`run(options) -> bool`, which prints its figures and says whether what must be so is so. It stands
in `SECTIONS` of `__main__`, by its name.
"""
