"""The model behind the page: loaded while the page is already there, asked by one request at a time."""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable

from NatureLM.errors import ModelUnavailableError, NatureLMError
from NatureLM.infer import Pipeline
from NatureLM.infer.settings import Configuration

logger = logging.getLogger("NatureLM.app")


LOOK_SECONDS = 0.1
"""How often whoever waits for the model looks whether that has become needless."""


class Stopped(Exception):
    """Whoever asked has stopped it."""


class Turn:
    """A lock that is had in the order in which it is asked for.

    Without the order, a run that gives the model back after a batch and wants it again at once would have it
    before those who wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_taken = False

    def take(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Wait for the turn and take it.

        Raises
        ------
        Stopped
            ``is_stopped`` became true meanwhile.
        """
        mine = threading.Event()
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                mine.set()
            else:
                self._waiting.append(mine)
        while not mine.wait(LOOK_SECONDS):
            if is_stopped():
                with self._lock:
                    if not mine.is_set():
                        self._waiting.remove(mine)
                        raise Stopped
        if is_stopped():
            self.give_back()
            raise Stopped

    def give_back(self) -> None:
        """Let the next one have it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def unless(self, is_stopped: Callable[[], bool]) -> StoppableTurn:
        """Return the same turn, for one who may be stopped while waiting for it."""
        return StoppableTurn(self, is_stopped)


class StoppableTurn:
    """A turn that raises :class:`Stopped` where it is no longer wanted.

    Parameters
    ----------
    turn : Turn
    is_stopped : callable
    """

    def __init__(self, turn: Turn, is_stopped: Callable[[], bool]) -> None:
        self._turn = turn
        self._is_stopped = is_stopped

    def __enter__(self) -> None:
        self._turn.take(self._is_stopped)

    def __exit__(self, *_: object) -> None:
        self._turn.give_back()


class AppModel:
    """Loads a model in the background and holds it.

    Parameters
    ----------
    configuration : Configuration
    plain : callable
        Makes a text that visitors may read of a message.

    Attributes
    ----------
    turn : Turn
        Held by whoever asks the model.
    warnings : list of str
        What was warned of while it was loaded: a fallback, for example.
    """

    def __init__(self, configuration: Configuration, plain: Callable[[object], str] = str) -> None:
        self._configuration = configuration
        self._plain = plain
        self._pipeline: Pipeline | None = None
        self._error: str | None = None
        self._done = threading.Event()
        self.turn = Turn()
        self.warnings: list[str] = []

    def load(self) -> None:
        """Begin to load the model, in a thread."""
        threading.Thread(target=self._load, daemon=True, name="loads the model").start()

    def _load(self) -> None:
        heard = _Warnings(self.warnings, self._plain)
        logging.getLogger("NatureLM").addHandler(heard)
        try:
            self._pipeline = Pipeline.configured(self._configuration)
        except NatureLMError as error:
            self._error = str(error)
            logger.error(self._error)
        except Exception as error:
            self._error = f"The model could not be loaded: {error}"
            logger.error("%s\n%s", self._error, traceback.format_exc())
        finally:
            logging.getLogger("NatureLM").removeHandler(heard)
            self._done.set()

    @property
    def is_loading(self) -> bool:
        """Whether it is not there yet, but may come."""
        return not self._done.is_set()

    @property
    def error(self) -> str | None:
        """Why there is no model, if it could not be loaded."""
        return self._error

    def pipeline_unless(self, is_stopped: Callable[[], bool]) -> Pipeline:
        """Return the pipeline, waiting for it; Stopped is raised where that is no longer wanted."""
        while not self._done.wait(LOOK_SECONDS):
            if is_stopped():
                raise Stopped
        return self.pipeline()

    def pipeline(self, timeout: float | None = None) -> Pipeline:
        """Return the pipeline, waiting for it while it is loaded.

        Raises
        ------
        ModelUnavailableError
            It could not be loaded, or not within ``timeout`` seconds.
        """
        if not self._done.wait(timeout):
            raise ModelUnavailableError("The model is still being loaded; try again in a moment.")
        if self._pipeline is None:
            raise ModelUnavailableError(self._error or "There is no model.")
        return self._pipeline


class _Warnings(logging.Handler):
    """Keeps the text of warnings of the thread that makes it: pages that open meanwhile have their own."""

    def __init__(self, kept: list[str], plain: Callable[[object], str]) -> None:
        super().__init__(logging.WARNING)
        self._kept, self._plain = kept, plain
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._kept.append(" ".join(self._plain(record.getMessage()).split()))
