"""A browser whose last page stays open, for tests that look at the page itself."""

from __future__ import annotations

from workers.capture.browser import Browser
from workers.capture.take import WarmPage


class Lingering(Browser):
    """Stays on the page when a capture has ended."""

    async def _leave(self, warm: WarmPage) -> None:
        """Stay."""
