#!/bin/sh
# Prepares .venv with Broadsheet and one of its extras: bootstrap.sh local | test
# Called by make when pyproject.toml or constraints.txt is newer than what is installed.
set -eu
cd "$(dirname "$0")/../.."
extra=$1
log=.venv/install-$extra.log

fail() {
    echo "Set-up failed: $*" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    fail "Broadsheet needs Python 3.11 or newer. Install one, or name it: make PYTHON=/path/to/python3"
}

if ! new_enough .venv/bin/python; then
    python=$(find_python)
    echo "Making .venv with $("$python" --version) …"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "this Python has no venv. On Debian and Ubuntu, install the package python3-venv."
    rm -rf .venv
    "$python" -m venv .venv || fail "python -m venv .venv"
fi

echo "Installing Broadsheet with what \"$extra\" needs into .venv (once; about a minute) …"
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".[$extra]" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "pip could not install the packages; the whole story is in $log"
fi
touch ".venv/ready-$extra"
