"""The streams over which pages get what they asked for."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs

from NatureLM.app.server import App, Message, Receive, Scope, Send, route_of

CLOSE = b'"msg":"close_stream"'
"""What Gradio's server sends last over a stream (within other messages its quotes would be escaped)."""

SESSION = re.compile(rb'"session_hash"\s*:\s*"([^"]*)"')

SECONDS = 0.6
"""Longest that a page is awaited to close its stream: it has heard of it by then. Now and then a browser
keeps the connection although the page has let go of it."""

APART_SECONDS = 0.03
"""Between two answers to one page, so that they come in their order: what the page is told of a request that
it does not know as accepted, it keeps until it does, and shows it then, over what was told later."""


class Streams:
    """Has a page close its stream before it hears that its next request is accepted.

    Gradio's server tells the page to close its stream once nothing that it asked for is unanswered. What the
    page asks for before it has heard of that, it expects on the stream that it is about to close, and it
    opens no other: the answer never comes, as if the button had not been pressed. So the server keeps a
    stream that is told to close open until the page has closed it, and tells it only then that its next
    request is accepted; for that the page opens a new stream. Requests of one page are accepted one after
    another.

    Parameters
    ----------
    app : ASGI application
        Gradio's.
    seconds : float
        Longest that a page is awaited to close its stream.
    """

    def __init__(self, app: App, seconds: float = SECONDS) -> None:
        self._app = app
        self._seconds = seconds
        self._closing: dict[str, list[asyncio.Event]] = {}
        self._last: dict[str, asyncio.Event] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        asked = route_of(scope).rstrip("/") if scope["type"] == "http" else ""
        if asked == "queue/data":
            await self._stream(scope, receive, send)
        elif asked == "queue/join":
            await self._accept(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        visitor = query.get("session_hash", [""])[0]
        closed = asyncio.Event()

        async def closing(message: Message) -> None:
            is_body = message["type"] == "http.response.body"
            if is_body and CLOSE in message.get("body", b"") and not closed.is_set():
                self._closing.setdefault(visitor, []).append(closed)
            elif is_body and not message.get("more_body") and closed in self._closing.get(visitor, []):
                await _left(receive, self._seconds)
            await send(message)

        try:
            await self._app(scope, receive, closing)
        finally:
            closed.set()
            others = [event for event in self._closing.pop(visitor, []) if event is not closed]
            if others:
                self._closing[visitor] = others

    async def _accept(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, visitor = bytearray(), ""
        mine = asyncio.Event()

        async def read() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def when_closed(message: Message) -> None:
            nonlocal visitor
            if message["type"] == "http.response.start":
                visitor = b"".join(SESSION.findall(body)[-1:]).decode("latin-1")
                before, self._last[visitor] = self._last.get(visitor), mine
                for closed in list(self._closing.get(visitor, [])):
                    await closed.wait()
                if before is not None:
                    await before.wait()
                    await asyncio.sleep(APART_SECONDS)
            await send(message)

        try:
            await self._app(scope, read, when_closed)
        finally:
            mine.set()
            if self._last.get(visitor) is mine:
                del self._last[visitor]


async def _left(receive: Receive, seconds: float) -> None:
    """Wait until the connection is closed from the other side."""

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(left(), seconds)
    except asyncio.TimeoutError:
        return
