"""The letters of a run: which of its documents travel, and what is sent where none may.

Pure but for `measure`, which builds a mail to know its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from shared import deliveries
from shared.documents import Document
from workers.messages import Letter, Letters, encoded, readable_size

#: What a mail has besides its files, as long as nobody measured it.
REST = 512 * 1024

REFUSED = "a mail with them would be too large for the mail server"


class Composer(Protocol):
    """`messages.compose` with all but these."""

    def __call__(self, *, max_attachment_bytes: int, too_large: str = "") -> Letter:
        """Write a letter that carries so much at most."""


def write(
    compose: Composer,
    documents: Sequence[Document],
    *,
    limit: int,
    server_limit: int | None,
    measure: Callable[[Letter], int],
) -> Letters:
    """Write the letter that carries what `limit` and the mail server allow, and the light one.

    `limit` is for the files, `server_limit` for the whole mail (None: not known).
    """
    full = compose(max_attachment_bytes=limit)
    sizes = {document.id: encoded(document.size) for document in documents}
    if server_limit is not None and _carried(full, sizes) + REST > server_limit:
        reason = f"the mail server takes no mail above {readable_size(server_limit)}"
        while (load := _carried(full, sizes)) and (size := measure(full)) > server_limit:
            lighter = compose(max_attachment_bytes=load - (size - server_limit), too_large=reason)
            if _carried(lighter, sizes) == load:  # nothing but empty files
                lighter = compose(max_attachment_bytes=-1, too_large=reason)
            full = lighter
    carried = {*full.attachments, *(document_id for _, document_id in full.images)}
    if not carried:
        return Letters(full=full, attached=deliveries.NONE if documents else deliveries.ALL)
    return Letters(
        full=full,
        light=compose(max_attachment_bytes=-1, too_large=REFUSED),
        attached=deliveries.ALL if len(carried) == len(documents) else deliveries.SOME,
    )


def _carried(letter: Letter, sizes: dict[int, int]) -> int:
    """Return how many bytes the files of a letter are in a mail; not 0 while there are any."""
    carried = [*letter.attachments, *(document_id for _, document_id in letter.images)]
    return sum(max(1, sizes[document_id]) for document_id in carried)
