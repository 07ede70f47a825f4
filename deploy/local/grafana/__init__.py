"""A stand-in for Grafana: its HTTP and front-end contract, honoured by pages of our own.

`make demo` looks at it, the tests are merciless with it. It contains no Grafana code; what it
promises, and what it does not, is listed in the README beside this file.
"""
