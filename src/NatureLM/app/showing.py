"""What is sent to a page, and that nothing of it is once it is over.

Gradio sends what handlers return over one stream for each visitor, in the order in which it gets it, but
handlers run side by side: what is on its way when something else takes its place would come after that. So
whatever is shown counts as over at once, and who takes its place waits until what is being sent has gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gradio as gr

Shown = TypeVar("Shown")

LONGEST_SENDING_SECONDS = 5.0
"""What is being sent is waited for no longer; whoever it is for may have left."""


class Showing:
    """Something that is shown until something else takes its place.

    Attributes
    ----------
    is_over : bool
        Whether nothing of it is shown any more.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._has_shown = False
        self._sending = threading.Lock()

    def shown(self, outputs: Callable[[], Shown], *, at_first: bool = False) -> Iterator[Shown]:
        """Yield a handler's outputs, unless it is over.

        Gradio goes on with a generator when it has sent what it yielded; until then :meth:`end` waits. With
        ``at_first`` they are yielded only if nothing was before.
        """
        with self._sending:
            if not self.is_over and not (at_first and self._has_shown):
                self._has_shown = True
                yield outputs()

    def end(self) -> None:
        """Have nothing shown from now on; return when what was being sent has gone."""
        self.is_over = True
        if self._sending.acquire(timeout=LONGEST_SENDING_SECONDS):
            self._sending.release()


def nothing_new(outputs: int) -> tuple[Any, ...]:
    """Return that many outputs that leave the page as it is.

    Gradio says once more what a handler said last, which by then may be over; so handlers say this last.
    """
    return tuple(gr.skip() for _ in range(outputs))
