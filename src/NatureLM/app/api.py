"""The endpoints for programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gradio import FileData

from NatureLM.app.house import House
from NatureLM.app.numbers import number_of
from NatureLM.audio.recording import USED
from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.engine import Recording

MOST_WINDOWS = 2000
"""Of one call; more are for the endpoint ``/long_recording``."""


class Api:
    """The endpoints for programs.

    Parameters
    ----------
    house : House
    """

    def __init__(self, house: House) -> None:
        self._house = house

    def ask(
        self,
        recording: FileData,
        question: str,
        window_length_seconds: float | None = None,
        hop_length_seconds: float | None = None,
        min_evidence: float = -1.0,
    ) -> list[dict[str, Any]]:
        """Answer a question about each window of a recording, in the rows of ``naturelm infer``.

        Parameters
        ----------
        recording : FileData
            As ``gradio_client.handle_file`` makes it.
        question : str
        window_length_seconds : float or None
            None is what the app was started with.
        hop_length_seconds : float or None
            None is the length of a window that is given, else what the app was started with.
        min_evidence : float
            Floor in [0, 1]; below 0 the model's own.
        """
        path = self._house.files.recording(_path_of(recording))
        if not isinstance(question, str):
            raise ConfigError("question: give a text, for example 'Caption the audio'.")
        window, hop = (
            None if seconds is None else number_of(seconds, name)
            for seconds, name in (
                (window_length_seconds, "window_length_seconds"),
                (hop_length_seconds, "hop_length_seconds"),
            )
        )
        floor = number_of(min_evidence, "min_evidence", "a number from 0 to 1, or -1 for the model's own")
        engine = self._house.model.pipeline().engine(window, hop)
        if floor >= 0:
            engine.settings = replace(engine.settings, min_evidence=floor)
            engine.model.adapter.check(engine.settings)
        engine.check_query(question)
        rows: list[dict[str, Any]] = []
        batches = engine.batches([Recording(path.name, (question,), path=path)])
        while True:
            with self._house.model.turn:
                batch = next(batches, None)
            if batch is None:
                return rows
            for _, event in batch:
                if isinstance(event, Failure):
                    # Half the answers would look like all of them.
                    reason = event.reason.removesuffix(USED).rstrip()
                    before = " For the answers up to there use /long_recording."
                    raise RecordingError(f"{reason}{before if rows else ''}")
                if isinstance(event, Answer):
                    rows.append(event.as_row())
            if len(rows) > MOST_WINDOWS:
                batches.close()
                raise ConfigError(f"More than {MOST_WINDOWS} windows in one call; use /long_recording.")

    def model(self) -> dict[str, Any]:
        """Return which model answers, and what it hears."""
        pipeline = self._house.model.pipeline()
        config = pipeline.model.config
        return {
            "name": config.name,
            "device": str(pipeline.model.device),
            "max_window_seconds": config.max_window_seconds,
            "sample_rate": config.sample_rate,
            "min_evidence": pipeline.settings.min_evidence if self._house.has_floor else None,
            "warnings": list(self._house.model.warnings),
        }


def _path_of(recording: Any) -> Path:
    path = recording.get("path") if isinstance(recording, dict) else getattr(recording, "path", None)
    if not isinstance(path, str) or not path:
        raise ConfigError("There is no recording; pass one with gradio_client.handle_file.")
    return Path(path)
