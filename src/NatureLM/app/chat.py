"""The tab Ask: see and hear recordings, ask about them, and ask on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from NatureLM.app.conversations import About, ChatState, Conversation
from NatureLM.app.files import KEPT_SECONDS, display_names
from NatureLM.app.house import House
from NatureLM.app.messages import in_parts, least_evidence, messages, rows, said_by_model
from NatureLM.app.model import Stopped
from NatureLM.app.numbers import FLOOR, Number, Slider, number_of
from NatureLM.app.player import Span, player_html, write_playable
from NatureLM.app.prompts import DEFAULT_QUERY, tasks_of
from NatureLM.app.results import WIDTHS, table
from NatureLM.app.showing import nothing_new
from NatureLM.app.spectrogram import spectrogram
from NatureLM.audio import recording_suffixes
from NatureLM.errors import ConfigError, NatureLMError, RecordingError
from NatureLM.infer.listening import Listening, Stretch, listen

NOTHING_CHOSEN = '<div class="player" style="opacity:.8">Drop a recording, or take an example.</div>'

LONGEST_SHOWN_SECONDS = 1800.0
"""Longer recordings are for the tab Long recording; here their first half hour is shown."""

STOPPED = "*Stopped.*"
"""Said below an answer that was ended."""

OUTPUTS = 4
"""State, messages, players and table."""

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
        paths, wrong = self._readable(files)
        names = display_names(paths)
        chosen = name if name in names else names[0] if names else None
        which = gr.Dropdown(choices=names, value=chosen, visible=len(names) > MOST_SHOWN)
        state.keep_only(paths)
        state.drawn = self._drawn(paths, chosen)
        players, damaged = self._players(state, paths, chosen)
        return state, which, players, self._notice([*wrong, *damaged])

    def _drawn(self, paths: list[Path], name: str | None) -> tuple[Path, ...]:
        """Return the recordings that are drawn; of many the one of this name."""
        names = display_names(paths)
        if len(paths) <= MOST_SHOWN:
            return tuple(paths)
        return (paths[names.index(name)] if name in names else paths[0],)

    def _readable(self, files: list[str] | None) -> tuple[list[Path], list[str]]:
        """Return the recordings that may be read, and what is wrong with the others."""
        paths: list[Path] = []
        wrong: list[str] = []
        for file in files or ():
            try:
                paths.append(self._house.files.recording(file))
            except RecordingError as error:
                wrong.append(str(error))
        return paths, wrong

    def _notice(self, wrong: list[str]) -> str:
        return "".join(
            f'<div class="notice" role="alert">{escape(self._house.files.plain(text))}</div>'
            for text in wrong
        )

    def _players(self, state: ChatState, paths: list[Path], chosen: str | None) -> tuple[str, list[str]]:
        """Return the players of the recordings that are shown, and what is wrong with recordings."""
        drawn = self._drawn(paths, chosen)
        players, wrong = "", []
        for path, name in zip(paths, display_names(paths), strict=True):
            if path not in drawn:
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
            folder = self._house.files.new_folder()
            state.played[path] = write_playable(path, folder, LONGEST_SHOWN_SECONDS)
        interview = state.interview
        parts = [part for part in interview.parts if path in part.audio_paths] if interview else []
        spans = [
            Span(part.start_seconds, part.end_seconds, answer.text, answer.confidence, least_evidence(answer))
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
        asked: float = 0,
        *,
        again: bool = False,
    ) -> Generator[tuple[Any, ...], None, None]:
        """Ask; yield state, messages, players and table as they become.

        ``asked`` is the question's number, by which it is stopped. ``again`` says that the question is the
        last one, asked anew.
        """
        query = (query or "").strip()
        if not query:
            raise ConfigError("There is no question; write one, or take one from the list of tasks.")
        if not files:
            raise ConfigError("There is no recording; drop one, or take an example.")
        paths, wrong = self._readable(files)
        conversation = state.take_up(int(number))
        if conversation is not None:

            def is_stopped() -> bool:
                return conversation.is_over or asked <= state.stopped

            with conversation.answering(query) as is_new:
                if is_new:
                    bring_back = conversation.forget_last() if again else lambda: False
                    part = (start, end, floor)
                    yield from self._answered(
                        state, conversation, paths, wrong, part, query, is_stopped, bring_back
                    )
            if is_new and not conversation.is_over:
                finished = self._finished(state, conversation, paths, name)
                yield from conversation.shown(lambda: finished)
        yield nothing_new(OUTPUTS)

    def _answered(
        self,
        state: ChatState,
        conversation: Conversation,
        paths: list[Path],
        wrong: list[str],
        part: tuple[Any, Any, Any],
        query: str,
        is_stopped: Callable[[], bool],
        bring_back: Callable[[], bool],
    ) -> Generator[tuple[Any, ...], None, None]:
        """Ask; yield the outputs while the answer is written, and keep it, or why there is none.

        An answer that this one would have taken the place of is brought back if there is none.
        """
        said = ""
        try:
            start, end, floor = _numbers(*part)
            about = (tuple(paths), start, end)
            # Until it is heard, nothing of an earlier conversation about other sound is shown.
            before = messages(conversation, self._warning) if conversation.about in (None, about) else []
            before.append({"role": "user", "content": query})

            def so_far(answer: str) -> Iterator[tuple[Any, ...]]:
                return conversation.shown(
                    lambda: (state, [*before, said_by_model(answer)], gr.skip(), gr.skip())
                )

            yield from so_far(
                "…" if not self._house.model.is_loading else "The model is still being loaded …"
            )
            listening = self._listen(conversation, about, wrong, is_stopped)
            for heard in listening:
                _go_on_unless(is_stopped)
                yield from so_far(f"Listening: {heard.heard} of {heard.windows} windows …")
            interview = conversation.interview
            assert interview is not None  # it was made, or that was refused
            if self._house.has_floor and interview.settings.min_evidence != floor:
                interview.settings = replace(interview.settings, min_evidence=floor)
            before[:-1] = messages(conversation, self._warning)
            with closing(interview.ask(query, self._house.model.turn.unless(is_stopped))) as stream:
                for texts in stream:
                    _go_on_unless(is_stopped)
                    said = in_parts(interview.parts, texts)
                    yield from so_far(said or "…")
        except Stopped:
            if not bring_back():
                conversation.set_aside(query, f"{said}\n\n{STOPPED}".strip())
        except NatureLMError as error:
            bring_back()
            conversation.set_aside(query, self._warning(str(error)))

    def _listen(
        self,
        conversation: Conversation,
        about: About,
        wrong: list[str],
        is_stopped: Callable[[], bool],
    ) -> Generator[Listening, None, None]:
        """Hear what a question is about, unless that is heard already."""
        if conversation.interview is not None and conversation.about == about:
            return
        paths, start, end = about
        if not paths:
            raise RecordingError(" ".join(wrong))
        engine = self._house.model.pipeline_unless(is_stopped).engine()
        turn = self._house.model.turn.unless(is_stopped)
        interview = yield from listen(engine, paths, Stretch(start, end), turn, leave_out=True)
        interview.warnings[:0] = wrong
        conversation.begin(interview, about)

    def _warning(self, text: str) -> str:
        return f"⚠ {escape(self._house.files.plain(text), quote=False)}"

    def _finished(
        self, state: ChatState, conversation: Conversation, paths: list[Path], name: str | None
    ) -> tuple[Any, ...]:
        # What the visitor has chosen meanwhile stays in the player.
        is_drawn = state.drawn in (None, self._drawn(paths, name))
        players = self._players(state, paths, name)[0] if is_drawn else gr.skip()
        return state, messages(conversation, self._warning), players, table(rows(conversation))

    def stop(self, state: ChatState, asked: float) -> None:
        """End all questions up to this one; they end by themselves, and what was said so far stays."""
        state.stop(int(asked))

    def retry(self, state: ChatState, number: int, *inputs: Any) -> Generator[tuple[Any, ...], None, None]:
        """Ask the last question again; inputs and outputs are those of :meth:`ask`."""
        query = state.conversation.last_query if state.conversation else None
        if query is None:
            raise ConfigError("Nothing was asked yet.")
        files, name, _, *rest = inputs
        yield from self.ask(state, number, files, name, query, *rest, again=True)

    def clear(
        self, state: ChatState, number: int, files: list[str] | None, name: str | None
    ) -> Generator[tuple[Any, ...], None, None]:
        """Forget the conversation, the next has this number; outputs are those of :meth:`ask`."""
        if state.begin_anew(int(number)) and (conversation := state.conversation) is not None:
            _, _, players, _ = self.show(state, files, name)
            # A question asked at once may be faster than this page, which must not take its answer away.
            emptied: tuple[Any, ...] = (state, [], players, gr.DataFrame(value=None))
            yield from conversation.shown(lambda: emptied, at_first=True)
        yield nothing_new(OUTPUTS)

    def answer_again(
        self, state: ChatState, files: list[str] | None, name: str | None, floor: float | None
    ) -> Generator[tuple[Any, ...], None, None]:
        """Answer all questions with another floor; outputs are those of :meth:`ask`."""
        conversation = state.conversation
        evidence = state.floor = number_of(floor, "Evidence floor", FLOOR)
        if conversation is not None and self._answer_all(state, conversation, evidence):
            paths, _ = self._readable(files)
            finished = self._finished(state, conversation, paths, name)
            yield from conversation.shown(lambda: finished)
        yield nothing_new(OUTPUTS)

    def _answer_all(self, state: ChatState, conversation: Conversation, floor: float) -> bool:
        """Answer all questions with a floor, unless it was moved on meanwhile; return whether they were."""
        with conversation.answering(None):
            interview = conversation.interview
            if interview is None or not interview.queries or state.floor != floor:
                return False
            if interview.settings.min_evidence == floor:
                return False
            with closing(interview.answer_again(floor, self._house.model.turn)) as answers:
                for _ in answers:
                    if conversation.is_over:
                        return False
        return True

    def build(self) -> None:
        """Lay the tab out."""
        house = self._house
        state = gr.State(ChatState(), time_to_live=KEPT_SECONDS, delete_callback=ChatState.forget)
        number, asked = gr.Number(0, visible=False), gr.Number(0, visible=False)
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
                    start = Number(0, label="Part from (s)", elem_id="part-start", min_width=100)
                    end = Number(None, label="to (s)", placeholder="end", elem_id="part-end", min_width=100)
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
        answers = gr.DataFrame(
            label="Answers",
            interactive=False,
            wrap=True,
            column_widths=WIDTHS,
            elem_id="chat-table",
            max_height=300,
        )
        self.task, self.floor = task, floor
        inputs = [state, number, files, which, question, start, end, floor, asked]
        outputs = [state, chat, player, answers]
        private: dict[str, Any] = {"api_visibility": "private"}
        files.change(house.said(self.show), [state, files, which], [state, which, player, notice], **private)
        which.input(house.said(self.show), [state, files, which], [state, which, player, notice], **private)
        # By the page itself: a question that is asked at once is not about the part of other recordings.
        gr.on([files.change, whole.click], None, None, [start, end], js="() => [0, null]", **private)
        task.input(lambda prompt: prompt, task, question, **private)
        # A press while another answer ends is not lost; the conversation itself knows a double click.
        how: dict[str, Any] = {"concurrency_id": "model", "trigger_mode": "multiple", **private}
        asking = [
            gr.on(
                [ask.click, question.submit],
                house.said(self.ask),
                inputs,
                outputs,
                show_progress="hidden",
                js="(...inputs) => window.conversations.ask(...inputs)",
                **how,
            ),
            retry.click(
                house.said(self.retry),
                inputs,
                outputs,
                js="(...inputs) => window.conversations.retry(...inputs)",
                **how,
            ),
        ]
        for each in asking:
            each.then(None, [chat], None, js="(said) => window.conversations.ended(said)", **private)
            each.failure(None, None, None, js="() => window.conversations.failed()", **private)
        # Gradio's own way of cancelling is heard by the page as an error, and comes too early for a question
        # that has not reached the server.
        stop.click(
            house.said(self.stop),
            [state, asked],
            None,
            js="(...inputs) => window.conversations.stop(...inputs)",
            trigger_mode="multiple",
            queue=False,
            **private,
        )
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
            trigger_mode="multiple",
            **private,
        )


def _numbers(start: Any, end: Any, floor: Any) -> tuple[float, float | None, float]:
    """Return the part and the floor; ConfigError where they are no numbers."""
    return (
        0.0 if start is None else number_of(start, "Part from"),
        None if end is None else number_of(end, "Part to"),
        number_of(floor, "Evidence floor", FLOOR),
    )


def _go_on_unless(is_stopped: Callable[[], bool]) -> None:
    if is_stopped():
        raise Stopped
