"""A page that is told to close its stream has closed it before it hears that its next request is accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("gradio")

from NatureLM.app.server import Message, Receive, Scope, Send
from NatureLM.app.streams import Streams

COMPLETED = b'data: {"msg":"process_completed","output":{"text":"\\"msg\\":\\"close_stream\\""}}\n\n'
CLOSE = b'data: {"msg":"close_stream"}\n\n'


class Page:
    """A page's connections, and what happens on them, in order."""

    def __init__(self, seconds: float = 5.0) -> None:
        self.happened: list[str] = []
        self.close = asyncio.Event()
        self.app = Streams(self.gradio, seconds)

    async def gradio(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as Gradio's server does: a stream ends by itself."""
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"].endswith("queue/data"):
            await send({"type": "http.response.body", "body": COMPLETED, "more_body": True})
            await send({"type": "http.response.body", "body": CLOSE, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def stream(self, visitor: str) -> None:
        """Open a stream; it is closed when ``close`` is set."""
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await self.close.wait()
                self.happened.append("closed")
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if CLOSE in message.get("body", b""):
                self.happened.append("told to close")

        query = f"session_hash={visitor}".encode()
        scope = {"type": "http", "path": "/gradio_api/queue/data", "query_string": query}
        await self.app(scope, receive, send)
        self.happened.append("over")

    async def join(self, visitor: str, slow: float = 0.0) -> None:
        """Make a request, whose body comes in two parts and whose answer takes long."""
        text = b'{"data":["\\"session_hash\\":\\"x\\""],"session_hash":"%s"}' % visitor.encode()
        parts = [text[-9:], text[:-9]]

        async def receive() -> Message:
            return {"type": "http.request", "body": parts.pop(), "more_body": bool(parts)}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.happened.append(f"accepted {visitor}")
                await asyncio.sleep(slow)
            else:
                self.happened.append(f"answered {visitor}")

        await self.app({"type": "http", "path": "/gradio_api/queue/join"}, receive, send)


def visit(doing: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(doing(), 20))


def test_a_request_is_accepted_once_the_stream_is_closed() -> None:
    async def doing() -> None:
        page = Page()
        stream = asyncio.create_task(page.stream("me"))
        await asyncio.sleep(0.01)
        assert page.happened == ["told to close"]
        await page.join("another")
        join = asyncio.create_task(page.join("me"))
        await asyncio.sleep(0.05)
        assert page.happened == ["told to close", "accepted another", "answered another"]
        page.close.set()
        await asyncio.gather(stream, join)
        assert page.happened[3:] == ["closed", "over", "accepted me", "answered me"]
        page.happened.clear()
        await page.join("me")
        assert page.happened == ["accepted me", "answered me"]

    visit(doing)


def test_requests_are_accepted_in_their_order() -> None:
    async def doing() -> None:
        page = Page()
        stream = asyncio.create_task(page.stream("me"))
        await asyncio.sleep(0.01)
        joins = [asyncio.create_task(page.join("me", slow)) for slow in (0.1, 0.0, 0.0)]
        await asyncio.sleep(0.05)
        assert page.happened == ["told to close"]
        page.close.set()
        await asyncio.gather(stream, *joins)
        accepted = ["accepted me", "answered me"]
        assert page.happened[3:] == 3 * accepted
        page.happened.clear()
        await asyncio.gather(page.join("me", 0.1), page.join("another"))
        assert page.happened == ["accepted me", *["accepted another", "answered another"], "answered me"]

    visit(doing)


def test_a_page_that_does_not_close_its_stream_is_not_awaited_for_ever() -> None:
    async def doing() -> None:
        page = Page(seconds=0.05)
        stream = asyncio.create_task(page.stream("me"))
        await asyncio.sleep(0.01)
        await page.join("me")
        await stream
        assert page.happened == ["told to close", "over", "accepted me", "answered me"]

    visit(doing)


def test_streams_of_a_page_that_is_gone_hold_nothing_up() -> None:
    async def doing() -> None:
        page = Page()
        stream = asyncio.create_task(page.stream("me"))
        await asyncio.sleep(0.01)
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
        await page.join("me")
        assert page.happened == ["told to close", "accepted me", "answered me"]

    visit(doing)
