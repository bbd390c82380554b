"""The model behind the page: loaded while the page is already there, asked by one request at a time."""

from __future__ import annotations

import logging
import threading
import traceback

from NatureLM.errors import ModelUnavailableError, NatureLMError
from NatureLM.infer import Pipeline
from NatureLM.infer.settings import Configuration

logger = logging.getLogger("NatureLM.app")


class AppModel:
    """Loads a model in the background and holds it.

    Parameters
    ----------
    configuration : Configuration

    Attributes
    ----------
    turn : threading.Lock
        Held by whoever asks the model.
    warnings : list of str
        What was warned of while it was loaded: a fallback, for example.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._pipeline: Pipeline | None = None
        self._error: str | None = None
        self._done = threading.Event()
        self.turn = threading.Lock()
        self.warnings: list[str] = []

    def load(self) -> None:
        """Begin to load the model, in a thread."""
        threading.Thread(target=self._load, daemon=True, name="loads the model").start()

    def _load(self) -> None:
        heard = _Warnings(self.warnings)
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
    """Keeps the text of warnings."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(" ".join(record.getMessage().split()))
