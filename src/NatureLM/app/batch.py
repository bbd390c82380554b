"""The tab Batch: many recordings at once."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import gradio as gr

from NatureLM.app.files import KEPT_SECONDS
from NatureLM.app.house import House
from NatureLM.app.numbers import Number
from NatureLM.app.prompts import DEFAULT_QUERY
from NatureLM.app.results import counts_chart
from NatureLM.app.run_tab import (
    RunState,
    RunTab,
    answers_table,
    end_run,
    files_output,
    keep_together,
)
from NatureLM.audio import recording_suffixes


class Batch(RunTab):
    """The tab Batch.

    Parameters
    ----------
    house : House
    """

    def __init__(self, house: House) -> None:
        super().__init__(house, lambda run: counts_chart(run.rows()))

    def run(
        self,
        state: RunState,
        files: list[str] | None,
        question: str,
        length: float | None,
        hop: float | None,
        floor: float | None,
    ) -> Generator[tuple[Any, ...], None, None]:
        """Run over the uploaded files; outputs are those of :meth:`RunTab.start`."""
        yield from self.start(state, self.chosen(files), question, length, hop, floor)

    def chosen(self, files: list[str] | None) -> list[Path]:
        """Return the recordings that were uploaded."""
        return self._house.files.recordings(files)

    def build(self) -> None:
        """Lay the tab out."""
        house = self._house
        state = gr.State(RunState(), time_to_live=KEPT_SECONDS, delete_callback=end_run)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                files = gr.File(
                    label="Recordings, any number",
                    file_count="multiple",
                    file_types=sorted(recording_suffixes()),
                    height=170,
                    elem_id="batch-files",
                )
                question = gr.Textbox(
                    DEFAULT_QUERY, label="Questions, one a line", lines=2, elem_id="batch-question"
                )
                with gr.Row():
                    length = Number(
                        house.window,
                        label="Window (s)",
                        minimum=min(0.5, house.window),
                        min_width=90,
                        elem_id="batch-window",
                    )
                    hop = Number(
                        house.hop,
                        label="Hop (s)",
                        minimum=min(0.1, house.hop),
                        min_width=90,
                        elem_id="batch-hop",
                    )
                floor = self.floor_slider("batch-floor")
                with gr.Row(elem_classes="buttons"):
                    run = gr.Button("Answer all", variant="primary", elem_id="batch-run", min_width=100)
                    cancel = gr.Button("Cancel", elem_id="batch-cancel", min_width=80)
            with gr.Column(scale=1, min_width=300):
                progress = gr.HTML("", elem_id="batch-progress")
                chart = gr.HTML("", elem_id="batch-chart")
                downloads = files_output()
        rows = answers_table("batch-table")
        self.floor = floor
        outputs = [state, progress, chart, rows, downloads]
        files.change(house.said(self.look), files, progress, api_visibility="private")
        keep_together(length, hop)
        self.connect(
            self.run,
            (run, cancel),
            [state, files, question, length, hop, floor],
            outputs,
            api_name="batch",
            api_description="Answer questions (one a line) about recordings; the last output is the files.",
        )
