"""The tab Ask: see and hear recordings, ask about them, and ask on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from NatureLM.app.files import display_names
from NatureLM.app.house import House
from NatureLM.app.player import Span, clock, player_html, write_playable
from NatureLM.app.prompts import DEFAULT_QUERY, tasks_of
from NatureLM.app.results import WIDTHS, table
from NatureLM.app.spectrogram import spectrogram
from NatureLM.audio import recording_suffixes
from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer.answers import Answer
from NatureLM.infer.interview import Interview, Part
from NatureLM.models.answering import ModelAnswer

NOTHING_CHOSEN = '<div class="player" style="opacity:.8">Drop a recording, or take an example.</div>'

LONGEST_SHOWN_SECONDS = 1800.0
"""Longer recordings are for the tab Long recording; here their first half hour is shown."""


@dataclass
class ChatState:
    """One visitor's conversation.

    Attributes
    ----------
    interview : Interview or None
    about : tuple
        Recordings and part that it is about.
    played : dict
        For each recording the file that is played in its place.
    """

    interview: Interview | None = None
    about: tuple[Any, ...] = ()
    played: dict[Path, Path | None] = field(default_factory=dict)


class Chat:
    """Handlers of the tab, and the tab itself.

    Parameters
    ----------
    house : House
    """

    def __init__(self, house: House) -> None:
        self._house = house

    def show(self, state: ChatState, files: list[str] | None, name: str | None) -> tuple[Any, ...]:
        """Draw the chosen recording; return state, list of names, player and notice."""
        try:
            paths = self._house.files.recordings(files)
        except RecordingError as error:
            return (
                state,
                gr.Dropdown(choices=[], value=None, visible=False),
                NOTHING_CHOSEN,
                self._notice(error),
            )
        if not paths:
            return state, gr.Dropdown(choices=[], value=None, visible=False), NOTHING_CHOSEN, ""
        names = display_names(paths)
        chosen = name if name in names else names[0]
        which = gr.Dropdown(choices=names, value=chosen, visible=len(names) > 1)
        try:
            player = self._player(state, paths[names.index(chosen)], chosen)
        except RecordingError as error:
            return state, which, NOTHING_CHOSEN, self._notice(error)
        return state, which, player, ""

    def _notice(self, error: Exception) -> str:
        return f'<div class="notice" role="alert">{escape(self._house.files.plain(error))}</div>'

    def _player(self, state: ChatState, path: Path, name: str) -> str:
        seen = spectrogram(path, 0.0, LONGEST_SHOWN_SECONDS)
        if path not in state.played:
            state.played[path] = write_playable(path, self._house.files.new_folder())
        spans = []
        for part in state.interview.parts if state.interview else ():
            if path in part.audio_paths and part.turns:
                answer = part.turns[-1][1]
                spans.append(Span(part.start_seconds, part.end_seconds, answer.text, answer.confidence))
        return player_html(seen, name, state.played[path], spans)

    def ask(
        self,
        state: ChatState,
        files: list[str] | None,
        name: str | None,
        query: str,
        start: float | None,
        end: float | None,
        floor: float,
    ) -> Generator[tuple[Any, ...], None, None]:
        """Ask; yield state, messages, question, player and table as they become."""
        query = (query or "").strip()
        if not query:
            raise ConfigError("There is no question; write one, or take one from the list of tasks.")
        paths = self._house.files.recordings(files)
        if not paths:
            raise ConfigError("There is no recording; drop one, or take an example.")
        waiting = "…" if not self._house.model.is_loading else "The model is still being loaded …"
        # Until it is heard, nothing of an earlier conversation about other sound is shown.
        about = (tuple(paths), start or 0.0, end or None)
        before = self._messages(state) if state.about == about else []
        asked = {"role": "user", "content": query}
        yield state, [*before, asked, _said(waiting)], "", gr.skip(), gr.skip()
        interview = self._interview(state, about, floor)
        warned = [
            _said(f"⚠ {self._house.files.plain(text)}")
            for text in interview.warnings
            if not interview.queries
        ]
        before = [*before, *warned]
        stream = interview.ask(query, self._house.model.turn)
        try:
            for texts in stream:
                written = _in_parts(interview.parts, texts)
                yield state, [*before, asked, _said(written or "…")], "", gr.skip(), gr.skip()
        finally:
            stream.close()
        yield self._finished(state, paths, name)

    def _interview(self, state: ChatState, about: tuple[Any, ...], floor: float) -> Interview:
        if state.interview is None or state.about != about:
            pipeline = self._house.model.pipeline()
            paths, start, end = about
            with self._house.model.turn:
                interview = pipeline.interview(paths, start_seconds=start, end_seconds=end)
            state.interview, state.about = interview, about
        interview = state.interview
        if self._house.has_floor and interview.settings.min_evidence != floor:
            interview.settings = replace(interview.settings, min_evidence=floor)
        return interview

    def _finished(self, state: ChatState, paths: list[Path], name: str | None) -> tuple[Any, ...]:
        names = display_names(paths)
        chosen = name if name in names else names[0]
        player = self._player(state, paths[names.index(chosen)], chosen)
        return state, self._messages(state), "", player, table(self._rows(state))

    def retry(self, state: ChatState, *inputs: Any) -> Generator[tuple[Any, ...], None, None]:
        """Ask the last question again; inputs and outputs are those of :meth:`ask`."""
        if state.interview is None or not state.interview.queries:
            raise ConfigError("Nothing was asked yet.")
        query = state.interview.forget_last()
        files, name, _, *rest = inputs
        yield from self.ask(state, files, name, query or "", *rest)

    def clear(self, state: ChatState) -> tuple[Any, ...]:
        """Forget the conversation; return state, messages, question and table."""
        state.interview, state.about = None, ()
        return state, [], "", gr.DataFrame(value=None)

    def answer_again(
        self, state: ChatState, files: list[str] | None, name: str | None, floor: float
    ) -> Generator[tuple[Any, ...], None, None]:
        """Answer all questions with another floor; yield state, messages, player and table."""
        interview = state.interview
        if interview is None or not interview.queries or interview.settings.min_evidence == floor:
            yield state, gr.skip(), gr.skip(), gr.skip()
            return
        for _ in interview.answer_again(floor, self._house.model.turn):
            pass
        paths = self._house.files.recordings(files)
        _, messages, _, player, rows = self._finished(state, paths, name)
        yield state, messages, player, rows

    def _messages(self, state: ChatState) -> list[dict[str, str]]:
        interview = state.interview
        messages: list[dict[str, str]] = []
        for place, query in enumerate(interview.queries if interview else ()):
            answers = [part.turns[place][1] for part in interview.parts]  # type: ignore[union-attr]
            texts = [answer.text for answer in answers]
            written = _in_parts(interview.parts, texts, answers)  # type: ignore[union-attr]
            messages += [{"role": "user", "content": query}, _said(written)]
        return messages

    def _rows(self, state: ChatState) -> list[dict[str, Any]]:
        if state.interview is None:
            return []
        model = state.interview.model.config.name
        return [
            Answer(
                " + ".join(path.name for path in part.audio_paths),
                *("mix", part.start_seconds, part.end_seconds, turn.query),
                *(answer.text, answer.confidence, answer.mean_logprob, model),
                detections=list(answer.detections),
            ).as_row()
            for part in state.interview.parts
            for turn, answer in part.turns
        ]

    def build(self) -> None:
        """Lay the tab out."""
        house = self._house
        state = gr.State(ChatState(), time_to_live=6 * 3600)
        with gr.Row():
            with gr.Column(scale=6, min_width=320):
                files = gr.File(
                    label="Recordings",
                    file_count="multiple",
                    file_types=sorted(recording_suffixes()),
                    height=130,
                    elem_id="chat-files",
                )
                if house.files.examples:
                    gr.Markdown("**Examples**, one click away", elem_id="examples-title")
                    with gr.Row(elem_id="examples"):
                        for path in house.files.examples:
                            button = gr.Button(path.stem.replace("_", " "), size="sm", min_width=90)
                            button.click(lambda path=path: [str(path)], None, files, api_visibility="private")
                which = gr.Dropdown(label="Shown recording", choices=[], visible=False)
                player = gr.HTML(NOTHING_CHOSEN, elem_id="player")
                notice = gr.HTML("", elem_id="chat-notice")
                with gr.Row(elem_id="part"):
                    start = gr.Number(
                        0, label="Part from (s)", minimum=0, elem_id="part-start", min_width=100
                    )
                    end = gr.Number(
                        None, label="to (s)", placeholder="end", minimum=0, elem_id="part-end", min_width=100
                    )
                    whole = gr.Button("Whole recording", size="sm", min_width=120)
            with gr.Column(scale=5, min_width=320):
                chat = gr.Chatbot(
                    label="Conversation",
                    height=380,
                    elem_id="chat",
                    buttons=["copy"],
                    feedback_options=None,
                    placeholder="Ask what you want to know; later questions may refer to earlier answers.",
                )
                task = gr.Dropdown(label="Task", choices=tasks_of(None), value=DEFAULT_QUERY, elem_id="task")
                question = gr.Textbox(
                    DEFAULT_QUERY,
                    label="Question",
                    lines=2,
                    max_lines=4,
                    elem_id="question",
                    submit_btn=False,
                )
                with gr.Row():
                    ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=80)
                    stop = gr.Button("Stop", min_width=80, elem_id="stop")
                    retry = gr.Button("Retry", min_width=80, elem_id="retry")
                    clear = gr.Button("Clear", min_width=80, elem_id="clear")
                floor = gr.Slider(
                    *(0.0, 1.0, house.floor),
                    step=0.01,
                    label="Evidence floor: below it no species is named",
                    visible=house.has_floor,
                    elem_id="floor",
                )
        rows = gr.DataFrame(
            label="Answers",
            interactive=False,
            wrap=True,
            column_widths=WIDTHS,
            elem_id="chat-table",
            max_height=300,
        )
        self.task, self.floor = task, floor
        inputs = [state, files, which, question, start, end, floor]
        outputs = [state, chat, question, player, rows]
        private: dict[str, Any] = {"api_visibility": "private"}
        files.change(
            house.said(self.show), [state, files, which], [state, which, player, notice], **private
        ).then(lambda: (0, None), None, [start, end], **private)
        which.input(house.said(self.show), [state, files, which], [state, which, player, notice], **private)
        whole.click(lambda: (0, None), None, [start, end], **private)
        task.input(lambda prompt: prompt, task, question, **private)
        asking = [
            gr.on(
                [ask.click, question.submit],
                house.said(self.ask),
                inputs,
                outputs,
                concurrency_id="model",
                show_progress="hidden",
                **private,
            ),
            retry.click(house.said(self.retry), inputs, outputs, concurrency_id="model", **private),
        ]
        stop.click(None, None, None, cancels=asking, **private)
        clear.click(self.clear, state, [state, chat, question, rows], cancels=asking, **private)
        floor.release(
            house.said(self.answer_again),
            [state, files, which, floor],
            [state, chat, player, rows],
            concurrency_id="model",
            **private,
        )


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _in_parts(parts: list[Part], texts: list[str], answers: list[ModelAnswer] | None = None) -> str:
    """Return the answers as a message, with the times of the windows where there are several."""
    sure = [""] * len(texts) if answers is None else [_certainty(answer) for answer in answers]
    if len(parts) == 1:
        return texts[0] + (f"\n\n{sure[0]}" if sure[0] else "")
    several = len({path for part in parts for path in part.audio_paths}) > 1
    lines = []
    for part, text, certainty in zip(parts, texts, sure, strict=False):
        name = f"`{part.audio_paths[0].name}` " if several else ""
        place = f"{clock(part.start_seconds)} to {clock(part.end_seconds)}"
        lines.append(f"- {name}{place}: **{text}** {certainty}")
    return "\n".join(lines)


def _certainty(answer: ModelAnswer) -> str:
    evidence = ", ".join(
        f"{found.common_name or found.scientific_name} {found.score:.2f}"
        for found in answer.detections
        if found.score is not None
    )
    return f"*confidence {answer.confidence:.2f}{f'; evidence: {evidence}' if evidence else ''}*"
