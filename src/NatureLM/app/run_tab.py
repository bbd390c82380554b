"""What the tabs Batch and Long recording share: a run, its progress, cancel, results and floor."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from NatureLM.app.files import KEPT_SECONDS
from NatureLM.app.house import House
from NatureLM.app.numbers import FLOOR, Slider, number_of
from NatureLM.app.player import clock
from NatureLM.app.results import WIDTHS, failures_html, table, write_files
from NatureLM.app.runs import Run
from NatureLM.app.showing import nothing_new
from NatureLM.errors import ConfigError
from NatureLM.infer.engine import Engine

FIELDS = {
    "--window-length-seconds": "Window (s)",
    "--hop-length-seconds": "Hop (s)",
    "--min-evidence": "Evidence floor",
}
"""What the page calls options of the command line."""

LOOK_SECONDS = 0.5
"""How often the page looks at a run."""

LOADING_SECONDS = 0.2
"""How often a run that waits for the model looks whether it is there."""

OUTPUTS = 5
"""State, progress, picture, table and files."""

CANCELLED = '<div class="state" role="status"><b>Cancelled.</b> It had not begun.</div>'


@dataclass
class RunState:
    """One visitor's run.

    Attributes
    ----------
    run : Run or None
        The last one that began.
    is_waiting : bool
        Whether a run was asked for on the page that has not begun: others have their turn, or there is no
        model yet.
    is_dropped : bool
        Whether it was cancelled before it began.
    floor : float or None
        Where the floor of evidence was moved to before it began.
    latest : object or None
        Stands for the last request for a run.
    """

    run: Run | None = None
    is_waiting: bool = False
    is_dropped: bool = False
    floor: float | None = None
    latest: object | None = None


@dataclass(frozen=True)
class Asked:
    """What a visitor asks of a run.

    Attributes
    ----------
    paths : list of Path
    queries : list of str
    window, hop : float
        In seconds.
    floor : float
    """

    paths: list[Path]
    queries: list[str]
    window: float
    hop: float
    floor: float


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

    def chosen(self, *inputs: Any) -> list[Path]:
        """Return the recordings that a visitor has chosen."""
        raise NotImplementedError

    def press(self, state: RunState, *inputs: Any) -> tuple[RunState, str]:
        """End the run that goes on, for the one that is asked for; return state and progress.

        Inputs are those of the run. If something is wrong with them, the run that goes on is left alone.
        """
        *chosen, question, length, hop, floor = inputs
        self._asked(self.chosen(*chosen), question, length, hop, floor)
        state.is_waiting, state.is_dropped, state.floor = True, False, None
        if state.run is not None:
            state.run.end()
        return state, '<div role="status">Waiting for its turn …</div>'

    def start(
        self,
        state: RunState,
        paths: list[Path],
        question: str,
        length: float | None,
        hop: float | None,
        floor: float | None,
    ) -> Generator[tuple[Any, ...], None, None]:
        """Run; yield state, progress, picture, table and files as they become.

        If something is wrong with what is asked for, the run that goes on is left alone.
        """
        asked = self._asked(paths, question, length, hop, floor)
        mine = state.latest = object()
        old = state.run
        if old is not None:
            old.end()
        if self._house.model.is_loading:
            yield state, "The model is still being loaded …", "", None, None
        while self._house.model.is_loading and not state.is_dropped and state.latest is mine:
            time.sleep(LOADING_SECONDS)
        if state.latest is not mine:
            yield nothing_new(OUTPUTS)
            return
        if state.is_dropped:
            state.is_waiting = False
            if old is not None:
                old.discard()
            yield state, CANCELLED, "", None, None
            return
        if state.floor is not None:
            asked = replace(asked, floor=state.floor)
        engine = self._engine(asked)
        run = Run(self._house.model, engine, asked.paths, asked.queries, self._house.files.new_folder())
        if old is not None:
            old.discard()
        self._house.runs.add(run)
        state.run, state.is_waiting = run, False
        run.start()
        try:
            yield from self._followed(state, run)
        finally:  # also when nobody is there any more who could see it
            run.cancel()

    def _asked(
        self, paths: list[Path], question: str, length: float | None, hop: float | None, floor: float | None
    ) -> Asked:
        """Return what is asked for; raise ConfigError where the model, if it is there, cannot do it."""
        asked = _checked(paths, question, length, hop, floor)
        if not self._house.model.is_loading:
            self._engine(asked)
        return asked

    def _engine(self, asked: Asked) -> Engine:
        """Return the engine of a run; raise ConfigError where the model cannot do what is asked for."""
        try:
            engine = self._house.model.pipeline().engine(asked.window, asked.hop)
            if self._house.has_floor:
                engine.settings = replace(engine.settings, min_evidence=asked.floor)
                engine.model.adapter.check(engine.settings)
            for query in asked.queries:
                engine.check_query(query)
        except ConfigError as error:
            text = str(error)
            for option, field in FIELDS.items():
                text = text.replace(option, field)
            raise ConfigError(text) from None
        return engine

    def _followed(self, state: RunState, run: Run) -> Generator[tuple[Any, ...], None, None]:
        """Yield outputs until the run has ended or another has taken its place."""
        shown = -1
        while not run.look(LOOK_SECONDS) and not run.is_over:
            grown, shown = run.answers != shown, run.answers
            yield from run.shown(lambda grown=grown: self._so_far(state, run, grown))  # type: ignore[misc]
        if run.error is not None and not run.answers and not run.is_over:
            raise self._house.error(run.error, "The run ended")
        if not run.is_over:
            yield from self._settled(state, run)
        # Gradio says once more what a handler said last: to programs the results, but nothing over a new run.
        if run.is_over:
            yield nothing_new(OUTPUTS)

    def _so_far(self, state: RunState, run: Run, grown: bool) -> tuple[Any, ...]:
        if not grown:
            return state, _progress(run), gr.skip(), gr.skip(), None
        return state, _progress(run), self._picture(run), table(run.rows()), None

    def _settled(self, state: RunState, run: Run) -> Generator[tuple[Any, ...], None, None]:
        """Yield the outputs of a run that has ended, with the floor that is wanted by then."""
        with run.answering_again:
            while run.answers and run.floor != run.wanted_floor and not run.is_over:
                for count in run.answer_again():
                    if count % 64 == 0:
                        text = f"Answered again: {count} of {run.answers} …"
                        yield from run.shown(lambda text=text: (state, text, *[gr.skip()] * 3))  # type: ignore[misc]
            yield from run.shown(lambda: self._finished(state, run))

    def _finished(self, state: RunState, run: Run) -> tuple[Any, ...]:
        plain = self._house.files.plain
        failures = [replace(failure, reason=plain(failure.reason)) for failure in run.failures]
        files = write_files(run.jsonl, run.named, failures)
        ended = "Cancelled" if run.cancelled else "Done"
        broken = ""
        if run.error is not None:
            ended = "Ended before its time"
            broken = f'<div class="notice" role="alert">{escape(plain(run.error))}</div>'
        text = (
            f'<div class="state" role="status"><b>{ended}.</b> {_counted(run)} about '
            f"{run.answered_recordings} of {len(run.named)} recordings.</div>{broken}"
            f"{failures_html([failure.reason for failure in failures])}"
        )
        return state, text, self._picture(run), table(run.rows()), files or None

    def cancel(self, state: RunState) -> tuple[Any, ...]:
        """End the run early, what is answered stays; return state and progress."""
        state.is_dropped = True
        if state.run is not None:
            state.run.cancel()  # what follows it says so
        return state, CANCELLED if state.is_waiting else gr.skip()

    def not_begun(self, state: RunState) -> str:
        """Return what is to be said where a run was asked for and could not begin."""
        state.is_waiting = False
        if state.run is None or not state.run.answers:
            return '<div role="status">Nothing was begun.</div>'
        names = list(state.run.named)
        about = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        return f'<div role="status">Nothing was begun; the answers here are about {escape(about)}.</div>'

    def broken_off(self, state: RunState) -> str:
        """Return what is to be said where a run could not begin, or ended by a fault."""
        if state.is_waiting or state.run is None:
            return self.not_begun(state)
        return '<div role="status">Ended by a fault; its results could not be written.</div>'

    def answer_again(self, state: RunState, floor: float | None) -> Generator[tuple[Any, ...], None, None]:
        """Answer with another floor, a run that goes on when it has ended; outputs as of :meth:`start`."""
        evidence = number_of(floor, "Evidence floor", FLOOR)
        if state.is_waiting:
            state.floor = evidence
        run = state.run
        if run is not None:
            run.wanted_floor = evidence
            if run.wait(0.0) and run.answers and run.floor != evidence:
                yield from self._settled(state, run)
                if not run.is_over:
                    return
        yield nothing_new(OUTPUTS)

    def connect(
        self,
        handler: Callable[..., Any],
        buttons: tuple[gr.Button, gr.Button],
        inputs: list[Any],
        outputs: list[Any],
        **api: str,
    ) -> None:
        """Have the buttons that begin and cancel a run, and the floor, do what they say.

        Parameters
        ----------
        handler : callable
            Runs, by way of :meth:`start`.
        buttons : tuple
        inputs, outputs : list of components
            Those of the handler: the state comes first, the floor last of the inputs.
        api : str
            Name and description for programs.
        """
        run, cancel = buttons
        state, progress, floor = outputs[0], outputs[1], inputs[-1]
        said = self._house.said
        private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        # Runs wait for one another; what ends them does not.
        at_once: dict[str, Any] = {"concurrency_limit": None, "trigger_mode": "multiple", **private}
        pressed = run.click(said(self.press), inputs, [state, progress], **at_once)
        begun = pressed.success(
            said(handler),
            inputs,
            outputs,
            concurrency_limit=2,
            trigger_mode="multiple",
            show_progress="hidden",
            **api,
        )
        pressed.failure(self.not_begun, state, progress, **at_once)
        begun.failure(self.broken_off, state, progress, **at_once)
        cancel.click(self.cancel, state, [state, progress], **at_once)
        floor.release(said(self.answer_again), [state, floor], outputs, trigger_mode="multiple", **private)


def _checked(
    paths: list[Path], question: str, length: float | None, hop: float | None, floor: float | None
) -> Asked:
    queries = [line.strip() for line in (question or "").splitlines() if line.strip()]
    if not queries:
        raise ConfigError("There is no question; write one, or several, each on a line of its own.")
    if not paths:
        raise ConfigError("There is no recording; choose one first.")
    window, step = number_of(length, "Window"), number_of(hop, "Hop")
    return Asked(paths, queries, window, step, number_of(floor, "Evidence floor", FLOOR))


def _counted(run: Run) -> str:
    return f"{run.answers} answer{'' if run.answers == 1 else 's'}"


def _progress(run: Run) -> str:
    left = run.seconds_left
    time_left = "" if left is None else f"about {clock(left, whole=True)} left"
    if run.cancelled:
        time_left = "Cancelling …"
    if run.floor != run.wanted_floor:
        time_left += " · the floor that was moved holds from the end on"
    wrong = f" · {len(run.failures)} could not be read" if run.failures else ""
    return (
        f'<div role="status">{_counted(run)} · {run.done_recordings} of {len(run.named)} recordings · '
        f"{clock(run.done_seconds, whole=True)} of {clock(run.total_seconds, whole=True)} heard{wrong} · "
        f'{time_left}</div><div class="progress" role="progressbar" aria-label="Share heard" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{100 * run.share:.0f}">'
        f'<i style="width:{100 * run.share:.1f}%"></i></div>'
    )


def end_run(state: RunState) -> None:
    """End the run of a visitor who has left, whose page may still be open: links to its files hold a day."""
    if state.run is not None:
        state.run.discard(results_after=KEPT_SECONDS)


def keep_together(length: Any, hop: Any) -> None:
    """Let the hop follow the window's length while both are alike, as in ``naturelm infer``."""
    # In the page, as the fields change faster than a server answers.
    length.input(
        None,
        [length, hop],
        hop,
        js=f"(length, hop) => window.hops.follow('{length.elem_id}', {length.value}, length, hop)",
        api_visibility="private",
    )


def answers_table(elem_id: str) -> gr.DataFrame:
    """Return the table of answers."""
    return gr.DataFrame(
        label="Answers (point at a heading: its ⋮ sorts and filters)",
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
