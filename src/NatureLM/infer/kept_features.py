"""Features of a run's windows, kept on disk: other settings are answered with without hearing them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from NatureLM.infer.answers import Answer
from NatureLM.infer.asking import ask_about
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.infer.engine import Engine, Recording


class KeptFeatures:
    """What the encoder said of a run's windows, a file a batch, in a folder of its own.

    Parameters
    ----------
    folder : Path
        Made if it is not there; whoever names it removes it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._batches = 0

    def add(self, features: Sequence[Any]) -> None:
        """Keep the features of a batch, tensors of any shapes."""
        from safetensors.torch import save_file

        if features:
            tensors = {f"{place:06d}": tensor.contiguous() for place, tensor in enumerate(features)}
            save_file(tensors, self._path(self._batches))
            self._batches += 1

    def __iter__(self) -> Iterator[Any]:
        """Yield the features of each window, in the order in which they came."""
        from safetensors.torch import load_file

        for batch in range(self._batches):
            with suppress(FileNotFoundError):
                tensors = load_file(self._path(batch))
                yield from (tensors[name] for name in sorted(tensors))

    def _path(self, batch: int) -> Path:
        return self._folder / f"{batch:06d}.safetensors"


def answer_again(
    engine: Engine,
    settings: AnswerSettings,
    recordings: Iterable[Recording],
    answers: Iterable[Answer],
    kept: KeptFeatures,
) -> Iterator[Answer]:
    """Yield a run's answers anew, as other settings make them; nothing is decoded or encoded.

    Parameters
    ----------
    engine : Engine
        The one that the run was made with.
    settings : AnswerSettings
    recordings : iterable of Recording
        The run's.
    answers : iterable of Answer
        The run's, in its order.
    kept : KeptFeatures
        Those of its windows that were not silent.
    """
    windows = (list(rows) for _, rows in groupby(answers, key=_window))
    features = iter(kept)
    by_name = {recording.name: recording for recording in recordings}
    candidates_of = lru_cache(maxsize=None)(lambda name: engine.candidates_of(by_name[name]))
    while batch := list(islice(windows, engine.batch_size)):
        heard = [rows for rows in batch if not rows[0].silent]
        asked = [[row.query for row in rows] for rows in heard]
        named = [candidates_of(rows[0].audio_path) for rows in heard]
        encoded = list(islice(features, len(heard)))
        given = iter(ask_about(engine.model, settings, engine.batch_size, encoded, asked, named))
        for rows in batch:
            if rows[0].silent:
                yield from rows
                continue
            for row, answer in zip(rows, next(given), strict=True):
                yield engine.with_answer(row, answer)


def _window(answer: Answer) -> tuple[str, str, float]:
    return answer.audio_path, answer.channel, answer.start_seconds
