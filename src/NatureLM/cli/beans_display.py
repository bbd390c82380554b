"""What a run of the benchmark shows: how far each component is, and how long it will take."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from NatureLM.beans_zero.run import Run
from NatureLM.infer.answers import Failure
from NatureLM.infer.engine import Event, Finished

SECONDS_BETWEEN_LINES = 30.0
"""Where standard error is no terminal, progress is a line now and then."""


class Display:
    """Shows a run on standard error: a bar for each component on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} rows"),
            TextColumn("{task.fields[left]} left"),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, TaskID] = {}
        self._component_of: list[str] = []
        self._totals = Counter[str]()
        self._done = Counter[str]()
        self._failed = Counter[str]()
        self._started = self._said = time.monotonic()

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, message: str) -> None:
        """Show a message."""
        print(message, file=sys.stderr)

    def planned(self, paths: Sequence[Path]) -> None:
        """Show the components of these rows, each named ``component/id``."""
        self._component_of = [path.parts[0] for path in paths]
        self._totals = Counter(self._component_of)
        self._tasks = {
            name: self._progress.add_task(name, total=total, left="-") for name, total in self._totals.items()
        }
        self._started = self._said = time.monotonic()

    def happened(self, index: int, event: Event) -> None:
        """Show an event of the row ``paths[index]``."""
        if not isinstance(event, (Finished, Failure)):
            return
        name = self._component_of[index]
        self._done[name] += 1
        if isinstance(event, Failure):
            self._failed[name] += 1
            print(f"failed: {event.reason}", file=sys.stderr)
        if self._progress.disable:
            self._show_line(name)
            return
        for each, task in self._tasks.items():
            self._progress.update(task, completed=self._done[each], left=self._left(each))

    def close_with(self, run: Run) -> None:
        """Show the last line: counts, and where the files are."""
        failed = f", {sum(run.failed.values())} failed ({run.failures_path})" if run.failed else ""
        for name, count in run.failed.items():
            if answered := run.results.scores[name].rows:  # without any, the report says it
                print(
                    f"{name}: {count} of {answered + count} rows failed and are left out of its figures.",
                    file=sys.stderr,
                )
        before = f", {run.reused} done before" if run.reused else ""
        predictions, (metrics, lines) = run.results.about["predictions"], run.metrics
        print(
            f"{_rows(run.rows)}{failed}{before}; predictions in {predictions}, "
            f"metrics in {metrics} and {lines}",
            file=sys.stderr,
        )

    def _show_line(self, name: str) -> None:
        now = time.monotonic()
        if self._done[name] == self._totals[name]:
            failed = f", {self._failed[name]} failed" if self._failed[name] else ""
            print(f"{name}: {_rows(self._totals[name])} done{failed}", file=sys.stderr)
        elif now - self._said > SECONDS_BETWEEN_LINES:
            print(
                f"{name}: {self._done[name]} of {self._totals[name]} rows, {self._left(name)} left",
                file=sys.stderr,
            )
        else:
            return
        self._said = now

    def _left(self, name: str) -> str:
        """Return the time that the rest of a component takes at the run's pace so far."""
        seconds = (time.monotonic() - self._started) / max(1, self._done.total())
        return str(timedelta(seconds=round(seconds * (self._totals[name] - self._done[name]))))


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"
