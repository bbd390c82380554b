"""The server: there at once, and closed to all that the page does not need."""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

from NatureLM.app.files import AppFiles
from NatureLM.app.settings import AppSettings
from NatureLM.errors import ConfigError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STARTING = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>NatureLM-audio</title>
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="1"></head>
<body style="font:1.1rem system-ui;margin:3rem auto;max-width:36rem;color:#064e3b">
<h1>NatureLM-audio</h1><p role="status">The app is starting; this page goes on by itself.</p></body></html>"""

CLOSED = (
    *("proxy=", "vibe", "undo-vibe", "runs", "run-history", "dev", "deep_link", "process_recording"),
    *("custom_component", "monitoring", "profiling", "openapi"),
)
"""Beginnings of Gradio's routes that this page has no use for: some fetch addresses, some write code."""

MOST_REQUEST_BYTES = 8_000_000
"""Of a request that is no upload."""

TOO_LARGE = 413, b"The request is too large."
FOREIGN = 403, b"Another site's page has no business here."
OTHER_NAME = (
    421,
    b"This app is only this computer's: open it at 127.0.0.1 or localhost, or start it with --host.",
)

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-ancestors 'self'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
"""Nothing of the page comes from elsewhere."""


def listen(settings: AppSettings) -> socket.socket:
    """Bind the port.

    Raises
    ------
    ConfigError
        The port is taken, or the address is not this computer's.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"--host {settings.host} --port {settings.port}: cannot be bound ({error}); choose another port, "
            "for example --port 5002."
        ) from None


def address(listening: socket.socket, settings: AppSettings) -> str:
    """Return where a browser finds the page."""
    port = listening.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{port}/"


class StartingPage:
    """Answers in the app's place until it is there."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer, daemon=True, name="starting page")
        self._thread.start()

    def end(self) -> None:
        """Leave the port to the app."""
        self._over.set()
        self._thread.join()

    def _answer(self) -> None:
        while not self._over.is_set():
            if not select.select([self._listening], [], [], 0.1)[0]:
                continue
            connection, _ = self._listening.accept()
            with connection:
                connection.settimeout(1.0)
                try:
                    asked = connection.recv(4096).split(b" ")
                    found = len(asked) > 1 and asked[1] in (b"/", b"/?")
                    status = b"200 OK" if found else b"503 Service Unavailable\r\nRetry-After: 1"
                    connection.sendall(
                        b"HTTP/1.1 "
                        + status
                        + b"\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: "
                        b"no-store\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                        % len(STARTING)
                        + STARTING
                    )
                except OSError:
                    continue


class Guard:
    """Refuses requests for files and routes that are no business of the page's.

    Parameters
    ----------
    app : ASGI application
    files : AppFiles
    only_this_computer : bool
        Whether to refuse requests by any other name than this computer's own. A page from elsewhere can
        have its own name resolved to 127.0.0.1 (DNS rebinding), and is then the app's own to the browser.
    """

    def __init__(self, app: App, files: AppFiles, only_this_computer: bool) -> None:
        self._app = app
        self._files = files
        self._only_this_computer = only_this_computer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            await _refuse(send, *refused)
            return
        came, is_begun, is_too_large = 0, False, False

        async def counted() -> Message:
            # The header with the length may be missing: what comes is counted.
            nonlocal came, is_too_large
            if is_too_large:
                return {"type": "http.disconnect"}
            message = await receive()
            came += len(message.get("body", b""))
            if came <= MOST_REQUEST_BYTES:
                return message
            is_too_large = True
            if not is_begun:
                await _refuse(send, *TOO_LARGE)
            return {"type": "http.disconnect"}

        async def with_policy(message: Message) -> None:
            nonlocal is_begun
            if is_too_large and not is_begun:
                return  # refused already
            if message["type"] == "http.response.start":
                is_begun = True
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", POLICY.encode()),
                    (b"referrer-policy", b"same-origin"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, receive if _is_upload(scope) else counted, with_policy)
        except Exception:
            if not is_too_large:
                raise  # else the app has only seen its request end

    def _refusal(self, scope: Scope) -> tuple[int, bytes] | None:
        headers = dict(scope["headers"])
        if self._only_this_computer and not is_own_name(headers.get(b"host", b"").decode("latin-1")):
            return OTHER_NAME
        route = route_of(scope)
        if route.startswith(CLOSED):
            return 404, b"Not found"
        for kind in ("file=", "file/"):
            if route.startswith(kind):
                named = route.removeprefix(kind)
                if not (self._files.may_read(named) and self._files.may_read(unquote(named))):
                    return 403, b"This file is not the app's to show."
        # Uploads need no leave of the browser's, whatever page they come from.
        if scope["method"] not in ("GET", "HEAD") and headers.get(b"sec-fetch-site") == b"cross-site":
            return FOREIGN
        length = headers.get(b"content-length", b"0")
        if not _is_upload(scope) and length.isdigit() and int(length) > MOST_REQUEST_BYTES:
            return TOO_LARGE
        return None


def route_of(scope: Scope) -> str:
    """Return what is asked for, without the beginning that Gradio's routes share."""
    return str(scope["path"]).lstrip("/").removeprefix("gradio_api/").lstrip("/")


def is_own_name(host: str) -> bool:
    """Whether a ``Host`` header names this computer in a way that no other site can.

    True of addresses, with or without a port, which no resolver is asked for, and of ``localhost`` and names
    beneath it, which browsers never look up (RFC 6761, section 6.3).
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        if name != "localhost" and not name.endswith(".localhost"):
            ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_upload(scope: Scope) -> bool:
    """Whether a request is an upload, whose size Gradio limits."""
    return route_of(scope).rstrip("/") == "upload"


async def _refuse(send: Send, status: int, text: bytes) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def serve(listening: socket.socket, app: App, *, stopped: threading.Event | None = None) -> None:
    """Serve until interrupted, or until ``stopped`` is set.

    Parameters
    ----------
    listening : socket
        Closed at the end.
    app : ASGI application
    stopped : threading.Event, optional
    """
    import uvicorn

    config = uvicorn.Config(
        app, log_level="error", access_log=False, timeout_graceful_shutdown=2, lifespan="on"
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        # Ctrl-C comes out of the loop by itself; unasked for, it would be logged as a fault as well.
        serving.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        while not serving.done():
            if stopped is not None and stopped.is_set():
                server.should_exit = True
            await asyncio.wait({serving}, timeout=0.2)
        await serving

    asyncio.run(run())
