"""The tab Ask: see and hear recordings, ask about them, and ask on."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from NatureLM.app.conversations import About, ChatState, Conversation
from NatureLM.app.files import display_names
from NatureLM.app.house import House
from NatureLM.app.numbers import FLOOR, Slider, number_of
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

MOST_SHOWN = 4
"""Recordings that are drawn one below the other; of more, one is chosen."""


class Chat:
    """Handlers of the tab, and the tab itself.

    Parameters
    ----------
    house : House
    """

    def __init__(self, house: House) -> None:
        self._house = house

    def show(self, state: ChatState, files: list[str] | None, name: str | None) -> tuple[Any, ...]:
        """Draw the recordings; return state, list of names, players and notice."""
        try:
            paths = self._house.files.recordings(files)
        except RecordingError as error:
            hidden = gr.Dropdown(choices=[], value=None, visible=False)
            return state, hidden, NOTHING_CHOSEN, self._notice([str(error)])
        names = display_names(paths)
        chosen = name if name in names else names[0] if names else None
        which = gr.Dropdown(choices=names, value=chosen, visible=len(names) > MOST_SHOWN)
        state.seen = {path: seen for path, seen in state.seen.items() if path in paths}
        players, wrong = self._players(state, paths, chosen)
        return state, which, players, self._notice(wrong)

    def _notice(self, wrong: list[str]) -> str:
        return "".join(
            f'<div class="notice" role="alert">{escape(self._house.files.plain(text))}</div>'
            for text in wrong
        )

    def _players(self, state: ChatState, paths: list[Path], chosen: str | None) -> tuple[str, list[str]]:
        """Return the players of the recordings that are shown, and what is wrong with recordings."""
        names = display_names(paths)
        shown = names if len(names) <= MOST_SHOWN else [chosen if chosen in names else names[0]]
        players, wrong = "", []
        for path, name in zip(paths, names, strict=True):
            if name not in shown:
                continue
            try:
                players += self._player(state, path, name)
            except RecordingError as error:
                wrong.append(str(error))
        return players or NOTHING_CHOSEN, wrong

    def _player(self, state: ChatState, path: Path, name: str) -> str:
        """Draw a recording with what was last answered about each of its windows."""
        if path not in state.seen:
            state.seen[path] = spectrogram(path, 0.0, LONGEST_SHOWN_SECONDS)
        if path not in state.played:
            state.played[path] = write_playable(path, self._house.files.new_folder())
        interview = state.interview
        parts = [part for part in interview.parts if path in part.audio_paths] if interview else []
        spans = [
            Span(part.start_seconds, part.end_seconds, answer.text, answer.confidence, _evidence(answer))
            for part in parts
            for _, answer in part.turns[-1:]
        ]
        asked = interview.queries[-1] if spans and interview else None
        return player_html(state.seen[path], name, state.played[path], spans, asked=asked)

    def ask(
        self,
        state: ChatState,
        number: int,
        files: list[str] | None,
        name: str | None,
        query: str,
        start: float | None,
        end: float | None,
        floor: float | None,
        *,
        again: bool = False,
    ) -> Generator[tuple[Any, ...], None, None]:
        """Ask; yield state, messages, question, players and table as they become.

        ``again`` says that the question is the last one, asked anew.
        """
        query = (query or "").strip()
        if not query:
            raise ConfigError("There is no question; write one, or take one from the list of tasks.")
        paths = self._house.files.recordings(files)
        if not paths:
            raise ConfigError("There is no recording; drop one, or take an example.")
        evidence = number_of(floor, "Evidence floor", FLOOR)
        conversation = state.take_up(int(number))
        if conversation is not None:
            with conversation.answering(query) as is_new:
                if is_new:
                    if again and conversation.interview is not None:
                        conversation.interview.forget_last()
                    about = (tuple(paths), start or 0.0, end or None)
                    yield from self._answered(state, conversation, about, query, evidence)
            if is_new and not conversation.is_over:
                yield from conversation.shown(self._finished(state, conversation, paths, name))
        # Gradio says once more what a handler said last; by then the conversation may have been cleared.
        yield _nothing_new()

    def _answered(
        self, state: ChatState, conversation: Conversation, about: About, query: str, floor: float
    ) -> Generator[tuple[Any, ...], None, None]:
        """Ask; yield the outputs while the answer is written."""

        def so_far(answer: str, question: Any) -> Iterator[tuple[Any, ...]]:
            messages = [*before, {"role": "user", "content": query}, _said(answer)]
            return conversation.shown((state, messages, question, gr.skip(), gr.skip()))

        # Until it is heard, nothing of an earlier conversation about other sound is shown.
        before = self._messages(conversation) if conversation.about == about else []
        waiting = "…" if not self._house.model.is_loading else "The model is still being loaded …"
        yield from so_far(waiting, "")
        interview = self._interview(conversation, about, floor)
        if not interview.queries:
            before += [_said(f"⚠ {self._house.files.plain(text)}") for text in interview.warnings]
        stream = interview.ask(query, self._house.model.turn)
        try:
            for texts in stream:
                if conversation.is_over:
                    return
                yield from so_far(_in_parts(interview.parts, texts) or "…", gr.skip())
        finally:
            stream.close()

    def _interview(self, conversation: Conversation, about: About, floor: float) -> Interview:
        if conversation.interview is None or conversation.about != about:
            pipeline = self._house.model.pipeline()
            paths, start, end = about
            with self._house.model.turn:
                interview = pipeline.interview(list(paths), start_seconds=start, end_seconds=end)
            conversation.interview, conversation.about = interview, about
        interview = conversation.interview
        if self._house.has_floor and interview.settings.min_evidence != floor:
            interview.settings = replace(interview.settings, min_evidence=floor)
        return interview

    def _finished(
        self, state: ChatState, conversation: Conversation, paths: list[Path], name: str | None
    ) -> tuple[Any, ...]:
        players, _ = self._players(state, paths, name)
        return state, self._messages(conversation), gr.skip(), players, table(self._rows(conversation))

    def retry(self, state: ChatState, number: int, *inputs: Any) -> Generator[tuple[Any, ...], None, None]:
        """Ask the last question again; inputs and outputs are those of :meth:`ask`."""
        queries = state.interview.queries if state.interview else []
        if not queries:
            raise ConfigError("Nothing was asked yet.")
        files, name, _, *rest = inputs
        yield from self.ask(state, number, files, name, queries[-1], *rest, again=True)

    def clear(
        self, state: ChatState, number: int, files: list[str] | None, name: str | None
    ) -> Generator[tuple[Any, ...], None, None]:
        """Forget the conversation, the next has this number; outputs are those of :meth:`ask`."""
        if state.begin_anew(int(number)) and (conversation := state.conversation) is not None:
            _, _, players, _ = self.show(state, files, name)
            emptied: tuple[Any, ...] = (state, [], gr.skip(), players, gr.DataFrame(value=None))
            yield from conversation.shown(emptied, at_first=True)
        yield _nothing_new()

    def answer_again(
        self, state: ChatState, files: list[str] | None, name: str | None, floor: float | None
    ) -> Generator[tuple[Any, ...], None, None]:
        """Answer all questions with another floor; outputs are those of :meth:`ask`."""
        conversation, interview = state.conversation, state.interview
        evidence = number_of(floor, "Evidence floor", FLOOR)
        if conversation and interview and interview.queries and interview.settings.min_evidence != evidence:
            with conversation.answering(None):
                for _ in interview.answer_again(evidence, self._house.model.turn):
                    if conversation.is_over:
                        break
            paths = self._house.files.recordings(files)
            yield from conversation.shown(self._finished(state, conversation, paths, name))
        yield _nothing_new()

    def _messages(self, conversation: Conversation) -> list[dict[str, str]]:
        interview = conversation.interview
        messages: list[dict[str, str]] = []
        for place, query in enumerate(interview.queries if interview else ()):
            answers = [part.turns[place][1] for part in interview.parts]  # type: ignore[union-attr]
            texts = [answer.text for answer in answers]
            written = _in_parts(interview.parts, texts, answers)  # type: ignore[union-attr]
            messages += [{"role": "user", "content": query}, _said(written)]
        return messages

    def _rows(self, conversation: Conversation) -> list[dict[str, Any]]:
        interview = conversation.interview
        if interview is None:
            return []
        model = interview.model.config.name
        return [
            Answer(
                " + ".join(path.name for path in part.audio_paths),
                *("mix", part.start_seconds, part.end_seconds, turn.query),
                *(answer.text, answer.confidence, answer.mean_logprob, model),
                detections=list(answer.detections),
            ).as_row()
            for part in interview.parts
            for turn, answer in part.turns
        ]

    def build(self) -> None:
        """Lay the tab out."""
        house = self._house
        state = gr.State(ChatState(), time_to_live=6 * 3600, delete_callback=ChatState.forget)
        number = gr.Number(0, visible=False)
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
                with gr.Row(elem_classes="buttons"):
                    ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=80)
                    stop = gr.Button("Stop", min_width=80, elem_id="stop")
                    retry = gr.Button("Retry", min_width=80, elem_id="retry")
                    clear = gr.Button("Clear", min_width=80, elem_id="clear")
                floor = Slider(
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
        inputs = [state, number, files, which, question, start, end, floor]
        outputs = [state, chat, question, player, rows]
        private: dict[str, Any] = {"api_visibility": "private"}
        files.change(
            house.said(self.show), [state, files, which], [state, which, player, notice], **private
        ).then(lambda: (0, None), None, [start, end], **private)
        which.input(house.said(self.show), [state, files, which], [state, which, player, notice], **private)
        whole.click(lambda: (0, None), None, [start, end], **private)
        task.input(lambda prompt: prompt, task, question, **private)
        # A press while another answer ends is not lost; the conversation itself knows a double click.
        how: dict[str, Any] = {"concurrency_id": "model", "trigger_mode": "multiple", **private}
        numbered: dict[str, Any] = {"js": "(...inputs) => window.conversations.numbered(...inputs)"}
        asking = [
            gr.on(
                [ask.click, question.submit],
                house.said(self.ask),
                inputs,
                outputs,
                show_progress="hidden",
                **numbered,
                **how,
            ),
            retry.click(house.said(self.retry), inputs, outputs, **numbered, **how),
        ]
        stop.click(None, None, None, cancels=asking, **private)
        cleared = [clear.click, chat.clear]
        # At once; the server empties it again when it has ended what is on its way.
        gr.on(cleared, None, None, [question, chat], js="() => ['', []]", **private)
        gr.on(
            cleared,
            house.said(self.clear),
            [state, number, files, which],
            outputs,
            js="(...inputs) => window.conversations.begin(...inputs)",
            trigger_mode="multiple",
            **private,
        )
        floor.release(
            house.said(self.answer_again),
            [state, files, which, floor],
            outputs,
            concurrency_id="model",
            **private,
        )


def _nothing_new() -> tuple[Any, ...]:
    """Return outputs that leave the page as it is."""
    return tuple(gr.skip() for _ in range(5))


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


def _evidence(answer: ModelAnswer) -> float | None:
    """Return the evidence for the least evident species that an answer names."""
    scores = [found.score for found in answer.detections if found.score is not None]
    return min(scores) if scores else None


def _certainty(answer: ModelAnswer) -> str:
    evidence = ", ".join(
        f"{found.common_name or found.scientific_name} {found.score:.2f}"
        for found in answer.detections
        if found.score is not None
    )
    return f"*confidence {answer.confidence:.2f}{f'; evidence: {evidence}' if evidence else ''}*"
