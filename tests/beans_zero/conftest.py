"""What the benchmark's own program (v1.0.0) answered: a copy of ../shared/parity/beans_zero in ``golden``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Each recorded file by its stem."""
    files = {path.stem: json.loads(path.read_text()) for path in GOLDEN.glob("*.json")}
    rows = (GOLDEN / "rows.jsonl").read_text().splitlines()
    return {**files, "rows": [json.loads(row) for row in rows]}


ASSETS = Path(__file__).parents[2] / "assets"
FOCAL = "What is the common name for the focal species in the audio?"
MINI = [
    # component, task, recording, question, true answer
    ("cbi", "classification", "great_tit.ogg", FOCAL, "Great Tit"),
    ("cbi", "classification", "common_cuckoo.ogg", FOCAL, "Common Cuckoo"),
    ("cbi", "classification", "boreal_owl.flac", FOCAL, "Boreal Owl"),
    ("cbi", "classification", "eastern_wood_pewee.ogg", FOCAL, "Great Tit"),  # a label that is wrong
    ("enabirds", "detection", "great_tit_and_common_cuckoo.ogg", "Which?", "Great Tit, Common Cuckoo"),
    ("enabirds", "detection", "saw_whet_owl.WAV", "Which?", "Northern Saw-whet Owl"),
    ("enabirds", "detection", "rain.ogg", "Which?", "None"),
    (
        "gibbons",
        "detection",
        "rain.ogg",
        "Which of these, if any, are present in the audio recording? single, multiple, duet, None",
        "None",
    ),
    (
        "gibbons",
        "detection",
        "snowy_tree_cricket.ogg",
        "Which of these, if any, are present in the audio recording? single, multiple, duet, None",
        "single",
    ),
    (
        "watkins",
        "classification",
        "spring_peeper.ogg",
        FOCAL,
        "Spring Peeper",
    ),  # heard for 3 s
    (
        "captioning",
        "captioning",
        "pewee_and_cricket.ogg",
        "Caption the audio, using the common name for any animal species.",
        "The sound of an Eastern Wood-Pewee and a Snowy Tree Cricket.",
    ),
    (
        "captioning",
        "captioning",
        "common_cuckoo.ogg",
        "Caption the audio, using the common name for any animal species.",
        "A Common Cuckoo calls.",
    ),
]
"""A miniature of BEANS-Zero: assets of the project, asked about in the benchmark's words."""


def mini_row(
    place: int, component: str, task: str, recording: str, question: str, answer: str
) -> dict[str, Any]:
    """Return a row as the data set has it: samples as a list, metadata as JSON text."""
    samples, rate = soundfile.read(ASSETS / recording, dtype="float32")
    return {
        "source_dataset": "made from assets",
        "audio": samples,
        "id": f"{component}-{place}",
        "created_at": "2025-04-12 00:00:00",
        "metadata": json.dumps({"sample_rate": rate, "duration": len(samples) / rate}),
        "file_name": recording,
        "instruction": f"<Audio><AudioHere></Audio> {question}",
        "instruction_text": question,
        "output": answer,
        "task": task,
        "dataset_name": component,
        "license": "CC0",
    }


@pytest.fixture(scope="session")
def mini_rows() -> list[dict[str, Any]]:
    """The rows of the miniature."""
    return [mini_row(place, *row) for place, row in enumerate(MINI)]


@pytest.fixture(scope="session")
def mini_table(mini_rows: list[dict[str, Any]]) -> Any:
    """The miniature as an Arrow table of the data set's features."""
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra eval)")
    text = [(name, pa.string()) for name in mini_rows[0] if name != "audio"]
    schema = pa.schema([("audio", pa.list_(pa.float32())), *text])
    return pa.Table.from_pylist(mini_rows, schema=schema)


@pytest.fixture(scope="session")
def mini_parquet(mini_table: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of Parquet, of several row groups."""
    import pyarrow.parquet

    folder = tmp_path_factory.mktemp("parquet")
    pyarrow.parquet.write_table(mini_table[:5], folder / "shard_0.parquet", row_group_size=2)
    pyarrow.parquet.write_table(mini_table[5:], folder / "shard_1.parquet", row_group_size=3)
    return folder


@pytest.fixture(scope="session")
def bundled_engine() -> Any:
    """An engine with the bundled model, loaded once."""
    from NatureLM.infer.building import build_engine
    from NatureLM.infer.settings import Configuration

    return build_engine(Configuration())
