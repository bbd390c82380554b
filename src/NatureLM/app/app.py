"""The page, and its launch."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from NatureLM.app.server import App, Guard, StartingPage, address, listen, serve
from NatureLM.app.settings import AppSettings
from NatureLM.app.streams import Streams
from NatureLM.app.temporary import remove_abandoned
from NatureLM.errors import ConfigError

if TYPE_CHECKING:
    import gradio as gr

    from NatureLM.app.house import House

FOLDER = Path(__file__).parent

MOST_WAITING = 32
"""Requests that wait their turn; further ones are told that the server is busy."""

SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")

logger = logging.getLogger("NatureLM.app")


def launch(settings: AppSettings, say: Any = print, *, stopped: threading.Event | None = None) -> None:
    """Serve the web app until it is interrupted.

    Parameters
    ----------
    settings : AppSettings
    say : callable
        Told where the page is, once a browser gets an answer there.
    stopped : threading.Event, optional
        Ends it.

    Raises
    ------
    ConfigError
        The port cannot be bound, or Gradio is not installed.
    """
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise ConfigError(
            "The web app needs Gradio, which is not installed: pip install 'naturelm-audio[app]'."
        )
    listening = listen(settings)
    starting = StartingPage(listening)
    say(f"NatureLM-audio is at {address(listening, settings)} (Ctrl-C ends it).")
    if not settings.is_loopback:
        say("Everyone who reaches this computer over the network can use it; there is no password.")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from NatureLM.app.house import House

    remove_abandoned()
    with _hung_up_like_terminated():
        house = House(settings)
        os.environ["GRADIO_TEMP_DIR"] = str(house.files.uploads)
        try:
            app = mounted(house, listening.getsockname()[1])
            house.model.load()
            starting.end()
            serve(listening, app, stopped=stopped)
        finally:
            starting.end()
            listening.close()
            house.end_runs()
            house.files.remove()


@contextmanager
def _hung_up_like_terminated() -> Iterator[None]:
    """Within it a closed terminal (SIGHUP) does what SIGTERM does, unless it is ignored, as under nohup."""
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
    if (
        hang_up is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(hang_up) != signal.SIG_DFL
    ):
        yield
        return
    signal.signal(hang_up, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(hang_up, signal.SIG_DFL)


def mounted(house: House, port: int) -> App:
    """Return the whole ASGI application; it is guarded."""
    import gradio as gr
    from fastapi import FastAPI

    _fetch_nothing()
    blocks = page(house)
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        server_name=house.settings.host,
        server_port=port,
        footer_links=["api"],
        run_history=False,
        # Not the uploads: as files that Gradio made they are read all the same, but pages among them come as
        # downloads, not as pages of this site.
        allowed_paths=[str(folder) for folder in house.files.folders],
        show_error=house.settings.show_errors,
        max_file_size=house.settings.upload_bytes,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        theme=theme(),
        css=_read("page.css"),
        head=f"<style>{_read('frame.css')}</style><script>{_read('page.js')}</script>",
    )
    # Gradio checks which files requests may name only where it believes that it was launched.
    blocks.has_launched = True
    return Guard(Streams(app), house.files, house.settings.is_loopback)


def _fetch_nothing() -> None:
    """Have Gradio fetch none of the addresses that requests name as files."""
    import gradio as gr
    import safehttpx  # type: ignore[import-untyped]

    async def refuse(*_: Any, **__: Any) -> NoReturn:
        raise gr.Error(
            "A recording cannot be an address of the network; upload the file instead.", print_exception=False
        )

    # Gradio fetches with these what requests name, and nothing else.
    safehttpx.get = safehttpx.async_validate_url = refuse


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def theme() -> gr.themes.Base:
    """Return the page's colours and fonts; nothing is fetched for them."""
    import gradio as gr

    return gr.themes.Soft(
        primary_hue="emerald",
        secondary_hue="emerald",
        neutral_hue="stone",
        radius_size="lg",
        font=list(SYSTEM_FONTS),
        font_mono=list(SYSTEM_FONTS),
    ).set(
        button_primary_background_fill="#047857",
        button_primary_background_fill_hover="#065f46",
        button_primary_text_color="#ffffff",
        body_text_color_subdued="#57534e",
        block_label_text_color="#065f46",
        block_title_text_color="#065f46",
        block_label_background_fill="#ecfdf5",
        slider_color="#047857",
    )


def page(house: House) -> gr.Blocks:
    """Lay the page out."""
    import gradio as gr

    from NatureLM.app.api import Api
    from NatureLM.app.batch import Batch
    from NatureLM.app.chat import Chat
    from NatureLM.app.files import KEPT_SECONDS
    from NatureLM.app.long_recording import LongRecording
    from NatureLM.app.prompts import tasks_of

    chat, batch, long_recording, api = Chat(house), Batch(house), LongRecording(house), Api(house)
    with gr.Blocks(
        title="NatureLM-audio", analytics_enabled=False, delete_cache=(3600, KEPT_SECONDS), fill_width=False
    ) as blocks:
        # First, so that no handler of a tab takes their names.
        gr.api(house.said(api.ask), api_name="ask")
        gr.api(house.said(api.model), api_name="model")
        gr.HTML(
            "<h1>NatureLM-audio</h1><p>Ask questions about animal sounds in your recordings.</p>",
            elem_id="title",
        )
        state = gr.HTML(house.state_html(), elem_id="model-state")
        timer = gr.Timer(1.0)
        with gr.Tabs():
            with gr.Tab("Ask"):
                chat.build()
            with gr.Tab("Batch"):
                batch.build()
            with gr.Tab("Long recording"):
                long_recording.build()
        floors = [chat.floor, batch.floor, long_recording.floor]

        def look() -> list[Any]:
            if house.model.is_loading:
                return [house.state_html(), gr.Timer(active=True), *[gr.skip()] * (2 + len(floors))]
            tasks, longest = tasks_of(None), 30.0
            if house.model.error is None:
                model = house.model.pipeline().model
                tasks = tasks_of(model.adapter.declined_tasks)
                longest = model.config.max_window_seconds
            return [
                house.state_html(),
                gr.Timer(active=False),
                gr.Dropdown(choices=tasks),
                gr.Slider(maximum=longest),
                *[gr.Slider(visible=house.has_floor)] * len(floors),
            ]

        gr.on(
            [blocks.load, timer.tick],
            look,
            None,
            [state, timer, chat.task, long_recording.length, *floors],
            show_progress="hidden",
            api_visibility="private",
            queue=False,
        )
        if house.files.recordings_dir is not None:
            blocks.load(
                house.said(long_recording.listed),
                None,
                long_recording.listing,
                show_progress="hidden",
                api_visibility="private",
                queue=False,
            )
    blocks.queue(max_size=MOST_WAITING, default_concurrency_limit=4)
    return blocks
