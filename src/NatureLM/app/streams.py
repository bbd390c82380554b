"""The streams over which pages get their answers, and whether a visitor has left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

SECONDS = 3.0
"""Within which a page that waits for something opens its stream again."""


class Streams:
    """Keeps what visitors asked for while their page opens its stream anew.

    Gradio's page closes its stream when it waits for nothing more, and opens another for its next request.
    The server takes a closed stream for a visitor who left and drops all that they asked for: also a request
    that came meanwhile, whose answer the page would then await for ever. Here it first waits a moment.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._open: Counter[str] = Counter()
        self._waiting: set[asyncio.Task[None]] = set()

    @contextmanager
    def opened(self, query: bytes) -> Iterator[None]:
        """Count a stream as open, given the query of its address."""
        visitor = parse_qs(query.decode("latin-1")).get("session_hash", [""])[0]
        self._open[visitor] += 1
        try:
            yield
        finally:
            self._open[visitor] -= 1
            if not self._open[visitor]:
                del self._open[visitor]

    def patient(self, clean: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Return Gradio's ``clean_events`` such that only visitors who stay away are forgotten."""

        async def clean_later(*, session_hash: str | None = None, event_id: str | None = None) -> None:
            if session_hash is None:
                await clean(event_id=event_id)
                return
            # A task of its own: the stream that asks for it is ended.
            task = asyncio.create_task(self._clean_unless_back(clean, session_hash))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

        return clean_later

    async def _clean_unless_back(self, clean: Callable[..., Awaitable[None]], visitor: str) -> None:
        await asyncio.sleep(self._seconds)
        if visitor not in self._open:
            await clean(session_hash=visitor)
