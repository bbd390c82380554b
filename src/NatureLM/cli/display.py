"""What ``naturelm infer`` shows: answers on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from NatureLM.audio import display_path
from NatureLM.infer.answers import Answer, Failure, answer_line
from NatureLM.infer.engine import BegunAnew, Event, Opened
from NatureLM.infer.run import Summary


class Display:
    """Shows a run as it goes: a line per answer, and, on a terminal, a line of progress beneath.

    Parameters
    ----------
    queries : int
        How many questions each window is asked; the question is shown where there are several.
    show_answers : bool
        Whether answers go to standard output; if not, that is left to the results.
    """

    def __init__(self, queries: int = 1, *, show_answers: bool = True) -> None:
        self._several_queries = queries > 1
        self._answers = _AnswerConsole(highlight=False, soft_wrap=True, quiet=not show_answers)
        # Where answers go to the same terminal, one console must draw both, or they overwrite each other.
        together = show_answers and self._answers.is_terminal
        self._status = self._answers if together else Console(stderr=True)
        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.fields[files]} files"),
            _AudioColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("left"),
            console=self._status,
            transient=True,
            disable=not (sys.stderr.isatty() and self._status.is_terminal)
            or (self._answers.is_terminal and not show_answers),
        )
        self._sizes: list[int] = []
        self._files_done = 0
        self._bytes_done = 0
        self._seconds_done = 0.0
        self._current = (0.0, 0.0)
        self._started = time.monotonic()

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, message: str) -> None:
        """Show a message on standard error."""
        print(message, file=sys.stderr)

    def planned(self, paths: Sequence[Path]) -> None:
        """Show the progress of these files; their sizes stand for the work that they are."""
        self._sizes = [_size(path) for path in paths]
        self._started = time.monotonic()
        self._task = self._progress.add_task("", total=sum(self._sizes) or 1, **self._fields())

    def happened(self, index: int, event: Event) -> None:
        """Show an event of the file ``paths[index]``."""
        if isinstance(event, Opened):
            self._current = (0.0, event.duration_seconds)
            return
        if isinstance(event, BegunAnew):
            self._current = (0.0, self._current[1])
        elif isinstance(event, Answer):
            self._show_answer(event)
            self._current = (max(self._current[0], event.end_seconds), self._current[1])
        else:
            if isinstance(event, Failure):
                print(f"failed: {event.reason}", file=sys.stderr)
            self._files_done += 1
            self._bytes_done += self._sizes[index]
            self._seconds_done += self._current[0]
            self._current = (0.0, 0.0)
        heard, duration = self._current
        within = self._sizes[index] * min(heard / duration, 1.0) if duration > 0 else 0.0
        self._progress.update(self._task, completed=self._bytes_done + within, **self._fields())

    def close_with(self, summary: Summary) -> None:
        """Show the last line: counts, and where the results are."""
        failed = f", {summary.failures} failed" if summary.failures else ""
        if summary.failures_path is not None:
            failed += f" ({summary.failures_path})"
        if summary.reused:
            failed += f", {summary.reused} done before"
        if summary.reused < summary.recordings:
            failed += f"; the model waited for audio {summary.waiting_for_audio_share:.0%} of the time"
        places = ", ".join(map(str, summary.outputs)) or "standard output"
        print(
            f"{_count(summary.recordings, 'recording')}, {_count(summary.windows, 'window')}{failed}; "
            f"results in {places}",
            file=sys.stderr,
        )

    def _fields(self) -> dict[str, Any]:
        seconds = self._seconds_done + self._current[0]
        elapsed = max(time.monotonic() - self._started, 1e-9)
        return {
            "files": f"{self._files_done}/{len(self._sizes)}",
            "audio": f"{seconds / 3600:.2f} h audio",
            "speed": f"{seconds / elapsed:.0f}x real time",
        }

    def _show_answer(self, answer: Answer) -> None:
        line = Text(f"{display_path(answer.audio_path)}, {answer_line(answer, name_channel=True)}")
        if self._several_queries:
            line.append(f"  <- {answer.query}", style="dim")
        line.append(f"  ({_evidence(answer)})", style="dim")
        self._answers.print(line)


class _AudioColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['audio']}, {task.fields['speed']}")


class _AnswerConsole(Console):
    """A console that outlives its reader (``| head``): the run goes on, for its results file."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _evidence(answer: Answer) -> str:
    if answer.confidence is None:
        return "silent"
    scored = [
        f"{found.common_name} {found.score:.2f}"
        + ("" if found.probability is None else f" (probability {found.probability:.2f})")
        for found in answer.detections
        if found.score is not None
    ]
    evidence = f"; evidence: {', '.join(scored)}" if scored else ""
    if answer.withheld is not None:
        evidence = f"; withheld: {answer.withheld}"
    return f"confidence {answer.confidence:.2f}{evidence}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
