"""A mail server that fails in every phase by a seeded plan, and remembers what truly happened.

Written on bare streams: what has to be exact here is after which byte it hangs up, and whether
the mail was kept by then. What it does to a mail depends on the seed, the recipient and how often
that recipient was tried, so a plan is the same whatever order the mails come in.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

#: What may happen to one try, with its weight. The first is no fault.
PLAN: Mapping[str, float] = {
    "ok": 60,
    "slow dot": 5,
    "421 at mail": 3,
    "450 at rcpt": 3,
    "452 at rcpt": 3,
    "550 at rcpt": 2,
    "454 at data": 3,
    "drop before 354": 4,
    "drop in body": 4,
    "451 after dot": 3,
    "552 after dot": 2,
    "drop after dot, kept": 4,
    "drop after dot, not kept": 4,
}
ANSWERS = {
    "421 at mail": "421 4.3.2 Shutting down",
    "450 at rcpt": "450 4.2.1 Mailbox busy",
    "452 at rcpt": "452 4.5.3 Too many recipients",
    "550 at rcpt": "550 5.1.1 No such mailbox",
    "454 at data": "454 4.7.0 Throttling failure: Maximum sending rate exceeded",
    "451 after dot": "451 4.3.0 Try again later",
    "552 after dot": "552 5.2.2 Mailbox full",
}
#: After these nobody but the server knows whether it has the mail.
AMBIGUOUS = ("drop after dot, kept", "drop after dot, not kept")
#: Of a recipient's tries so many go by the plan, whenever they come: on a slow machine most mails
#: come after the last kill, and would otherwise meet a server without faults.
FAULTY_TRIES = 3
#: Of connections, so many are cut before a word was said.
BEFORE_BANNER = 0.05
SLOW = 2.5


@dataclass(slots=True, kw_only=True)
class Try:
    """One mail that a client began to hand over, as the server saw it."""

    recipient: str
    mode: str
    begun: float
    #: "rcpt", "data" (354 sent), "dot" (the whole mail came), "answered", "heard" (and the client
    #: went on, so it has read the answer).
    phase: str = "rcpt"
    code: int | None = None
    message_id: str = ""
    kept_at: float | None = None
    ended: float = field(default=0.0)


class Wire:
    """The server, on a thread while its `with` block runs. `calm` ends the cut connections."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.calm = False
        self.port = 0
        self.tries: list[Try] = []
        self.cut_before_banner = 0
        self._times: Counter[str] = Counter()
        self._connections = random.Random(f"{seed} connections")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire")

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _mode(self, recipient: str) -> str:
        number = self._times[recipient]
        self._times[recipient] += 1
        if number >= FAULTY_TRIES:
            return "ok"
        chance = random.Random(f"{self.seed} {recipient} {number}")
        return chance.choices(list(PLAN), list(PLAN.values()))[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = _Conversation(self, reader, writer)
        try:
            if not self.calm and self._connections.random() < BEFORE_BANNER:
                self.cut_before_banner += 1
            else:
                with suppress(ConnectionError, asyncio.IncompleteReadError, _HungUp):
                    await conversation.run()
        finally:
            conversation.end()
            writer.transport.abort()

    def begin(self, recipient: str) -> Try:
        """Note a new try and decide what happens to it."""
        made = Try(recipient=recipient, mode=self._mode(recipient), begun=time.time())
        self.tries.append(made)
        return made


class _HungUp(Exception):
    """The server's own doing."""


class _Conversation:
    def __init__(
        self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._wire, self._reader, self._writer = wire, reader, writer
        self._try: Try | None = None

    async def run(self) -> None:
        """Answer commands until the client or a fault ends it."""
        await self._say("220 wire.example ESMTP")
        while line := await self._reader.readline():
            if self._try and self._try.phase == "answered":
                self._try.phase = "heard"
            verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            match verb.upper():
                case "EHLO":
                    await self._say("250-wire.example\r\n250 SIZE 50000000")
                case "MAIL":
                    await self._say("250 2.1.0 Ok")
                case "RCPT":
                    await self._recipient(rest)
                case "DATA":
                    await self._data()
                case "QUIT":
                    await self._say("221 2.0.0 Bye")
                    return
                case _:
                    await self._say("250 2.0.0 Ok")

    def end(self) -> None:
        """Note the end of the try that was under way."""
        if self._try and not self._try.ended:
            self._try.ended = time.time()

    async def _recipient(self, rest: str) -> None:
        self.end()
        found = re.search(r"<([^>]*)>", rest)
        self._try = self._wire.begin(found[1] if found else "")
        # A server that goes away may do so at any command; the recipient is known from here on.
        for mode in ("421 at mail", "450 at rcpt", "452 at rcpt", "550 at rcpt"):
            if self._try.mode == mode:
                await self._refuse(ANSWERS[mode])
                return
        await self._say("250 2.1.5 Ok")

    async def _data(self) -> None:
        current = self._try
        assert current is not None
        if current.mode == "drop before 354":
            raise _HungUp
        if current.mode == "454 at data":
            await self._refuse(ANSWERS[current.mode])
            return
        current.phase = "data"
        await self._say("354 Go ahead")
        if current.mode == "drop in body":
            await self._reader.readexactly(200)
            raise _HungUp
        await self._body(current)

    async def _body(self, current: Try) -> None:
        lines: list[bytes] = []
        while (line := await self._reader.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                raise _HungUp  # the client is gone; without the dot there is no mail
            lines.append(line)
        current.phase = "dot"
        head = b"".join(lines).partition(b"\r\n\r\n")[0].decode("ascii", "replace")
        found = re.search(r"^Message-ID: *\s*(<[^>]+>)", head, re.MULTILINE | re.IGNORECASE)
        current.message_id = found[1] if found else ""
        if current.mode == "drop after dot, not kept":
            raise _HungUp
        if current.mode in ANSWERS:
            await self._refuse(ANSWERS[current.mode])
            return
        current.kept_at = time.time()
        if current.mode == "drop after dot, kept":
            raise _HungUp
        if current.mode == "slow dot":
            await asyncio.sleep(SLOW)
        current.code = 250
        await self._say("250 2.0.0 Kept")
        current.phase = "answered"

    async def _refuse(self, answer: str) -> None:
        assert self._try is not None
        self._try.code = int(answer[:3])
        self.end()
        await self._say(answer)
        if self._try.code == 421:
            raise _HungUp

    async def _say(self, text: str) -> None:
        self._writer.write(f"{text}\r\n".encode())
        await self._writer.drain()
