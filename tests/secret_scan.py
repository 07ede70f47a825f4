"""`python -m tests.secret_scan`: look for secrets in all files that git knows. In `make check`.

detect-secrets finds what looks like one; here are besides the forms of our own tokens and of
Grafana's, which it does not know, and what was found and is none, each with its reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

CHECKOUT = Path(__file__).resolve().parent.parent
#: Tokens of Broadsheet, and of Grafana's service accounts.
TOKENS = re.compile(r"\b(?:bst_[\w-]{20,}|glsa_[A-Za-z0-9]{20,}_[0-9a-f]{8})\b")
#: Not text that anybody writes, and slow to look through.
LEFT_OUT = (".woff2", ".min.js")

PLACEHOLDER = "what to put in its place, not a password"
MADE_UP = "made up for a server that the test itself starts and ends"
#: (file, what was found) → why it is no secret. What is found no more is to be deleted here.
NAMED_ONLY = "the name of a Secret that the operator makes"
KNOWN = {
    ("README.md", "password"): PLACEHOLDER,
    ("deploy/kubernetes/base/api.yaml", "broadsheet"): NAMED_ONLY,
    ("deploy/kubernetes/base/beat.yaml", "broadsheet"): NAMED_ONLY,
    ("deploy/kubernetes/base/deliver.yaml", "broadsheet"): NAMED_ONLY,
    ("deploy/kubernetes/base/migrate.yaml", "broadsheet"): NAMED_ONLY,
    ("deploy/kubernetes/base/render.yaml", "broadsheet"): NAMED_ONLY,
    ("deploy/kubernetes/interactive/render-interactive.yaml", "broadsheet"): NAMED_ONLY,
    ("shared/links.py", "links"): "the name under which the key is stored",
    ("tests/integration/workers/test_delivery.py", "s3cret"): MADE_UP,
    ("tests/integration/workers/test_mail.py", "s3cret"): MADE_UP,
    ("tests/unit/shared/test_settings.py", "hush2"): "must not be shown, which the test shows",
    ("tests/unit/shared/test_settings.py", "hush"): "must not be shown, which the test shows",
    ("tests/unit/shared/test_settings.py", "pw"): "an address that is refused",
    ("tests/unit/shared/test_settings.py", "the-secret-key"): MADE_UP,
    ("tests/integration/shared/test_storage.py", "wrong"): MADE_UP,
    ("tests/integration/workers/test_logo_fetch.py", "SECRET"): "an address that is not followed",
    ("tests/acceptance/test_secrets.py", "another"): MADE_UP,
    ("tests/unit/shared/test_secrets.py", "SECRETVALUE0123456789"): MADE_UP,
    ("tests/unit/workers/test_logo_address.py", "secret"): "an address that is refused",
    ("tests/unit/workers/capture/test_gateway.py", "admin"): "an address that the gateway refuses",
}


@dataclass(frozen=True, order=True)
class Found:
    """Something that looks like a secret."""

    file: str
    line: int
    kind: str
    value: str

    def __str__(self) -> str:
        # Not whole: what prints this may be kept for long, and read by many.
        return f"{self.file}:{self.line}: {self.kind} {self.value[:4]}…"


def scan(files: Iterable[Path]) -> list[Found]:
    """Return what looks like a secret in the files, the first first."""
    paths = [path for path in files if not path.name.endswith(LEFT_OUT)]
    collected = SecretsCollection()
    with default_settings():
        collected.scan_files(*map(str, paths))
    found = {
        Found(_named(Path(path)), secret.line_number, secret.type, secret.secret_value or "")
        for path, secret in collected
    }
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        found |= {
            Found(_named(path), text.count("\n", 0, token.start()) + 1, "Token", token[0])
            for token in TOKENS.finditer(text)
        }
    return sorted(found)


def _named(path: Path) -> str:
    return str(path.relative_to(CHECKOUT)) if path.is_relative_to(CHECKOUT) else str(path)


def main() -> int:
    """Return 0 when there is nothing that is not known, and nothing known that is gone."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    files = [CHECKOUT / name for name in listed.stdout.split("\0") if name]
    found = scan(path for path in files if path.is_file() and not path.is_symlink())
    unknown = [one for one in found if (one.file, one.value) not in KNOWN]
    gone = KNOWN.keys() - {(one.file, one.value) for one in found}
    for one in unknown:
        print(f"{one}\n  Take it out, also of the history, and revoke it; if it is no secret,")
        print("  say why in KNOWN of tests/secret_scan.py.")
    for file, value in sorted(gone):
        print(f"{file}: {value[:4]}… is found no more; delete it from KNOWN.")
    return 1 if unknown or gone else 0


if __name__ == "__main__":
    sys.exit(main())
