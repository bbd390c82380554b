"""What all tabs of the page share: model, files, settings, and how faults are told."""

from __future__ import annotations

import inspect
import logging
import time
import traceback
from collections.abc import Callable
from functools import wraps
from html import escape
from typing import Any
from weakref import WeakSet

from NatureLM.app.files import AppFiles
from NatureLM.app.model import AppModel
from NatureLM.app.runs import Run
from NatureLM.app.settings import AppSettings
from NatureLM.errors import NatureLMError

LONGEST_ENDING_SECONDS = 8.0
"""What ends processes gives them ten seconds, as a rule."""

logger = logging.getLogger("NatureLM.app")


class House:
    """What all tabs of the page share.

    Parameters
    ----------
    settings : AppSettings

    Attributes
    ----------
    files : AppFiles
    model : AppModel
    runs : WeakSet of Run
        Those of all visitors, as long as anyone holds them.
    """

    def __init__(self, settings: AppSettings) -> None:
        self.settings = settings
        self.files = AppFiles(settings)
        self.model = AppModel(settings.configuration, self.files.plain)
        self.runs: WeakSet[Run] = WeakSet()

    def end_runs(self, seconds: float = LONGEST_ENDING_SECONDS) -> None:
        """End all runs and wait for their threads, at most this long.

        Threads that still compute while the interpreter ends would have the process abort.
        """
        running = list(self.runs)
        for run in running:
            run.cancel()
        until = time.monotonic() + seconds
        for run in running:
            run.join(max(0.0, until - time.monotonic()))

    @property
    def has_floor(self) -> bool:
        """Whether the model has a floor of evidence, as far as is known before it is loaded."""
        if self.model.is_loading or self.model.error:
            return self.settings.configuration.config.model == "bundled"
        return self.model.pipeline().model.adapter.has_evidence_floor

    @property
    def floor(self) -> float:
        """The floor that the configuration sets, else the model's own."""
        from NatureLM.app.prompts import DEFAULT_FLOOR

        given = self.settings.configuration.config.generation.min_evidence
        return DEFAULT_FLOOR if given is None else given

    @property
    def window(self) -> float:
        """Length in seconds of a window, as the configuration sets it."""
        return self.settings.configuration.config.window_length_seconds

    @property
    def hop(self) -> float:
        """Seconds from one window's start to the next: what the configuration sets, else the window's."""
        given = self.settings.configuration.config.hop_length_seconds
        return self.window if given is None else given

    def said(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Have a handler's faults told on the page, in one sentence unless ``--show-errors``."""
        if inspect.isgeneratorfunction(fn):

            @wraps(fn)
            def generating(*args: Any, **kwargs: Any) -> Any:
                try:
                    yield from fn(*args, **kwargs)
                except Exception as error:
                    raise self._told(error) from None

            return generating

        @wraps(fn)
        def calling(*args: Any, **kwargs: Any) -> Any:
            try:
                return fn(*args, **kwargs)
            except Exception as error:
                raise self._told(error) from None

        return calling

    def error(self, text: str, title: str) -> Exception:
        """Return an error that says a text: to programs as it is, to the page as HTML, which it shows."""
        import gradio as gr

        text = self.files.plain(text)
        return gr.Error(escape(text) if _is_page() else text, title=title, print_exception=False)

    def _told(self, error: Exception) -> Exception:
        import gradio as gr

        if isinstance(error, gr.Error):
            return error
        if isinstance(error, NatureLMError):
            return self.error(str(error), "That did not work")
        logger.error("A fault in the web app:\n%s", traceback.format_exc())
        title = "Something went wrong"
        text = "A fault of the program, not of yours; its log says more (--show-errors shows it here)."
        if self.settings.show_errors:
            text = traceback.format_exc()
            if _is_page():
                return gr.Error(f"<pre>{escape(text)}</pre>", title=title, print_exception=False)
        return gr.Error(text, title=title, print_exception=False)

    def state_html(self) -> str:
        """Return which model answers, or how far it is, with what was warned of."""
        if self.model.is_loading:
            return (
                '<div class="state loading" role="status">The model is being loaded; you can choose '
                "recordings meanwhile.</div>"
            )
        if self.model.error is not None:
            return f'<div class="state failed" role="alert"><b>No model.</b> {escape(self.model.error)}</div>'
        pipeline = self.model.pipeline()
        config = pipeline.model.config
        beams = pipeline.settings.num_beams
        way = "greedy answers: same question, same answer" if beams == 1 else f"{beams} beams"
        warnings = "".join(
            f'<div class="notice mild" role="alert">{escape(text)}</div>' for text in self.model.warnings
        )
        return (
            f'<div class="state" role="status"><b>{escape(config.name)}</b> on {pipeline.model.device} · '
            f"hears up to {config.max_window_seconds:g} s at once, up to {config.sample_rate / 2000:g} kHz · "
            f"{way}</div>{warnings}"
        )


def _is_page() -> bool:
    """Whether a browser makes the request that is being answered, or it cannot be told.

    Browsers say where a request comes from, which no script can leave out; programs do not.
    """
    from gradio.context import LocalContext

    request = LocalContext.request.get(None)
    headers = getattr(request, "headers", None)
    return headers is None or any(name in headers for name in ("origin", "referer"))
