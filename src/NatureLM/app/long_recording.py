"""The tab Long recording: one recording of any length, at constant memory."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import gradio as gr

from NatureLM.app.files import KEPT_SECONDS
from NatureLM.app.house import House
from NatureLM.app.numbers import Slider
from NatureLM.app.prompts import DEFAULT_QUERY
from NatureLM.app.results import timeline
from NatureLM.app.run_tab import (
    RunState,
    RunTab,
    answers_table,
    end_run,
    files_output,
    keep_together,
)
from NatureLM.audio import recording_suffixes


class LongRecording(RunTab):
    """The tab Long recording.

    Parameters
    ----------
    house : House
    """

    def __init__(self, house: House) -> None:
        super().__init__(house, lambda run: timeline(run.rows(), run.total_seconds))

    def run(
        self,
        state: RunState,
        file: str | None,
        chosen: str | None,
        question: str,
        length: float | None,
        hop: float | None,
        floor: float | None,
    ) -> Generator[tuple[Any, ...], None, None]:
        """Run over the upload, or over the one chosen; outputs are those of :meth:`RunTab.start`."""
        yield from self.start(state, self.chosen(file, chosen), question, length, hop, floor)

    def chosen(self, file: str | None, chosen: str | None) -> list[Path]:
        """Return the upload, or the recording chosen from the folder."""
        files = self._house.files
        return [files.recording(file)] if file else [files.chosen(chosen)] if chosen else []

    def listed(self) -> Any:
        """Return the list of recordings as the folder is now."""
        return gr.Dropdown(choices=list(self._house.files.listed()))

    def build(self) -> None:
        """Lay the tab out."""
        house = self._house
        state = gr.State(RunState(), time_to_live=KEPT_SECONDS, delete_callback=end_run)
        has_folder = house.files.recordings_dir is not None
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                chosen = gr.Dropdown(
                    label="From the folder of recordings (nothing is uploaded)",
                    choices=[],
                    value=None,
                    visible=has_folder,
                    allow_custom_value=True,
                    elem_id="long-chosen",
                )
                file = gr.File(
                    label="Or upload one" if has_folder else "Recording",
                    file_types=sorted(recording_suffixes()),
                    height=130,
                    elem_id="long-file",
                )
                question = gr.Textbox(
                    DEFAULT_QUERY, label="Questions, one a line", lines=2, elem_id="long-question"
                )
                length = Slider(
                    *(min(1.0, house.window), max(30.0, house.window), house.window),
                    step=0.5,
                    label="Window (s)",
                    elem_id="long-window",
                )
                hop = Slider(
                    *(min(0.5, house.hop), max(60.0, house.hop), house.hop),
                    step=0.5,
                    label="Hop (s)",
                    elem_id="long-hop",
                )
                floor = self.floor_slider("long-floor")
                with gr.Row(elem_classes="buttons"):
                    run = gr.Button("Listen through", variant="primary", elem_id="long-run", min_width=100)
                    cancel = gr.Button("Cancel", elem_id="long-cancel", min_width=80)
            with gr.Column(scale=1, min_width=300):
                progress = gr.HTML("", elem_id="long-progress")
                lanes = gr.HTML("", elem_id="long-timeline")
                downloads = files_output()
        rows = answers_table("long-table")
        self.floor, self.length, self.listing = floor, length, chosen
        outputs = [state, progress, lanes, rows, downloads]
        file.change(house.said(self.look), file, progress, api_visibility="private")
        keep_together(length, hop)
        # Of the two only the one that was chosen last is there.
        other: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        file.upload(lambda: None, None, chosen, **other)
        chosen.input(lambda name: None if name else gr.skip(), chosen, file, **other)
        self.connect(
            self.run,
            (run, cancel),
            [state, file, chosen, question, length, hop, floor],
            outputs,
            api_name="long_recording",
            api_description="Answer questions about one recording, uploaded or in the folder of recordings.",
        )
