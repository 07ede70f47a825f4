"""What two or more processes need: settings, nouns with their SQL, schedule arithmetic, names.

Nothing here imports `api`, `workers` or `beat`, and a module comes in only when two of them
use it. Importing it does nothing: no connection is opened, no environment is read.
"""
