"""What the tabs Batch and Long recording share: a run, its progress, cancel, results and floor."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from NatureLM.app.house import House
from NatureLM.app.numbers import FLOOR, Slider, number_of
from NatureLM.app.player import clock
from NatureLM.app.results import WIDTHS, failures_html, table, write_files
from NatureLM.app.runs import Run
from NatureLM.errors import ConfigError

LOOK_SECONDS = 0.5
"""How often the page looks at a run."""


@dataclass
class RunState:
    """One visitor's run."""

    run: Run | None = None


class RunTab:
    """Begins runs and shows them.

    Parameters
    ----------
    house : House
    picture : callable
        Draws a run.
    """

    def __init__(self, house: House, picture: Callable[[Run], str]) -> None:
        self._house = house
        self._picture = picture

    def floor_slider(self, elem_id: str) -> Any:
        """Return the slider of the floor of evidence."""
        return Slider(
            *(0.0, 1.0, self._house.floor),
            step=0.01,
            label="Evidence floor (moving it answers again at once)",
            visible=self._house.has_floor,
            elem_id=elem_id,
        )

    def look(self, files: list[str] | str | None) -> str:
        """Return what is wrong with uploads, as soon as they are there."""
        paths = [files] if isinstance(files, str) else files
        return failures_html(self._house.files.unreadable(paths))

    def start(
        self,
        state: RunState,
        paths: list[Path],
        question: str,
        length: float | None,
        hop: float | None,
        floor: float | None,
    ) -> Generator[tuple[Any, ...], None, None]:
        """Run; yield state, progress, picture, table and files as they become."""
        queries = [line.strip() for line in (question or "").splitlines() if line.strip()]
        if not queries:
            raise ConfigError("There is no question; write one, or several, each on a line of its own.")
        if not paths:
            raise ConfigError("There is no recording; choose one first.")
        window, step = number_of(length, "Window"), number_of(hop, "Hop")
        evidence = number_of(floor, "Evidence floor", FLOOR)
        end_run(state)
        if self._house.model.is_loading:
            yield state, "The model is still being loaded …", "", gr.skip(), None
        engine = self._house.model.pipeline().engine(window, step)
        if self._house.has_floor:
            engine.settings = replace(engine.settings, min_evidence=evidence)
        run = Run(self._house.model, engine, paths, queries, self._house.files.new_folder())
        state.run = run
        run.start()
        shown = -1
        while not run.wait(LOOK_SECONDS):
            grown, shown = run.answers != shown, run.answers
            yield (
                state,
                _progress(run),
                self._picture(run) if grown else gr.skip(),
                table(run.rows()) if grown else gr.skip(),
                None,
            )
        if run.error is not None:
            raise self._house.error(run.error, "The run ended")
        yield self._finished(state, run)

    def _finished(self, state: RunState, run: Run) -> tuple[Any, ...]:
        files = write_files(run.jsonl, run.named) if run.answers else None
        wrong = [self._house.files.plain(text) for text in run.failures]
        ended = "Cancelled" if run.cancelled else "Done"
        text = (
            f'<div class="state" role="status"><b>{ended}.</b> {_counted(run)} about '
            f"{run.answered_recordings} of {len(run.named)} recordings.</div>{failures_html(wrong)}"
        )
        return state, text, self._picture(run), table(run.rows()), files

    def cancel(self, state: RunState) -> RunState:
        """End the run early; what is answered stays."""
        if state.run is not None:
            state.run.cancel()
        return state

    def answer_again(self, state: RunState, floor: float | None) -> Generator[tuple[Any, ...], None, None]:
        """Answer with another floor; outputs are those of :meth:`start`."""
        run = state.run
        if run is None or not run.wait(0.0) or not run.answers:
            yield (state, *[gr.skip()] * 4)
            return
        for count in run.answer_again(number_of(floor, "Evidence floor", FLOOR)):
            if count % 64 == 0:
                yield state, f"Answered again: {count} of {run.answers} …", gr.skip(), gr.skip(), gr.skip()
        yield self._finished(state, run)


def _counted(run: Run) -> str:
    return f"{run.answers} answer{'' if run.answers == 1 else 's'}"


def _progress(run: Run) -> str:
    left = run.seconds_left
    time_left = "" if left is None else f"about {clock(left, whole=True)} left"
    wrong = f" · {len(run.failures)} could not be read" if run.failures else ""
    return (
        f'<div role="status">{_counted(run)} · {run.done_recordings} of {len(run.named)} recordings · '
        f"{clock(run.done_seconds, whole=True)} of {clock(run.total_seconds, whole=True)} heard{wrong} · "
        f'{time_left}</div><div class="progress" role="progressbar" aria-label="Share heard" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{100 * run.share:.0f}">'
        f'<i style="width:{100 * run.share:.1f}%"></i></div>'
    )


def end_run(state: RunState) -> None:
    """End the run of a visitor who has left, and remove its files."""
    if state.run is not None:
        state.run.discard()


def answers_table(elem_id: str) -> gr.DataFrame:
    """Return the table of answers."""
    return gr.DataFrame(
        label="Answers (click a heading to sort)",
        interactive=False,
        wrap=True,
        column_widths=WIDTHS,
        elem_id=elem_id,
    )


def files_output() -> gr.File:
    """Return the list of downloads."""
    return gr.File(
        label="Downloads: jsonl, csv, Raven and Audacity (zip)", file_count="multiple", interactive=False
    )
