from __future__ import annotations

from pathlib import Path

from tests.secret_scan import scan


def test_secrets_of_others_and_of_our_own_are_found_and_not_shown_whole(tmp_path: Path) -> None:
    # Put together here, so that the scan of this file does not find them.
    ours, grafanas = "bst_" + "aB3" * 12, "glsa_" + "aB3" * 10 + "aB_1a2b3c4d"
    amazons = "AKIA" + "QYLPMN5HHHFPZAM2"
    file = tmp_path / "notes.py"
    file.write_text(f"# {ours}\n\nX = '{grafanas}'\nY = '{amazons}'\nZ = 'glsa_…'\n")
    found = scan([file])
    assert {(one.line, one.value) for one in found} >= {(1, ours), (3, grafanas), (4, amazons)}
    assert {one.line for one in found} == {1, 3, 4}
    assert not any(secret in str(one) for one in found for secret in (ours, grafanas, amazons))
