from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import soxr
import torch

from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer import Answer, Failure, Pipeline, RecordingsError
from NatureLM.infer.writers import write_tables
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

ASSETS = Path(__file__).parents[2] / "assets"
FOCAL = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"


@pytest.fixture
def pipeline(model: NatureLM) -> Pipeline:
    return Pipeline(model=model)


@pytest.mark.parametrize(
    ("name", "species"),
    [
        ("lazuli_bunting.mp3", "Lazuli Bunting"),
        ("green_treefrog.mp3", "Green Treefrog"),
        ("sandhill_crane.mp3", "Sandhill Crane"),
        ("turtle_dove_16khz.flac", "European Turtle-Dove"),
        ("stream_noise.mp3", "None"),
    ],
)
def test_real_recordings_are_named_rightly(
    pipeline: Pipeline, real_audio: Path, name: str, species: str
) -> None:
    (text,) = pipeline([str(real_audio / name)], FOCAL)
    first = text.splitlines()[0]
    assert first.startswith("#0.00s - ")
    assert first.endswith(f"s#: {species}")


def test_published_example(model: NatureLM, real_audio: Path) -> None:
    model = model.eval().to("cpu")
    pipeline = Pipeline(model=model)
    audios = [str(real_audio / "green_treefrog.mp3")]
    queries = ["What is the common name for the focal species in the audio? Answer:"]
    results = pipeline(audios, queries, window_length_seconds=10.0, hop_length_seconds=10.0)
    assert results == ["#0.00s - 9.98s#: Green Treefrog\n"]


def test_a_text_per_recording_and_a_line_per_window(
    pipeline: Pipeline, make_noise: Callable[..., Path]
) -> None:
    texts = pipeline([make_noise("a.wav", 25.0), str(make_noise("b.wav", 4.0))], [FOCAL, LIST])
    assert [[line.partition("#: ")[0] for line in text.splitlines()] for text in texts] == [
        ["#0.00s - 10.00s", "#10.00s - 20.00s", "#20.00s - 25.00s"],
        ["#0.00s - 4.00s"],
    ]
    assert all(text.endswith("\n") for text in texts)


def test_windows_and_hops_are_as_asked(pipeline: Pipeline, make_noise: Callable[..., Path]) -> None:
    (text,) = pipeline([make_noise("a.wav", 10.0)], FOCAL, window_length_seconds=4.0, hop_length_seconds=3.0)
    assert [line.partition("#: ")[0] for line in text.splitlines()] == [
        "#0.00s - 4.00s",
        "#3.00s - 7.00s",
        "#6.00s - 10.00s",
    ]


def test_arrays_of_any_rate_are_answered_as_their_files(pipeline: Pipeline, real_audio: Path) -> None:
    path = real_audio / "lazuli_bunting.mp3"
    samples, rate = soundfile.read(path, dtype="float32")
    from_file = list(pipeline.answers(path, FOCAL))
    from_array = list(pipeline.answers(samples, FOCAL, input_sample_rate=rate))
    assert [answer.output for answer in from_array] == [answer.output for answer in from_file]
    assert {answer.audio_path for answer in from_array} == {"array 1"}


def test_answers_stream_every_query_of_every_window(
    pipeline: Pipeline, make_noise: Callable[..., Path]
) -> None:
    answers = pipeline.answers([make_noise("a.wav", 12.0)], [FOCAL, LIST])
    assert isinstance(answers, Iterator)
    rows = list(answers)
    assert all(isinstance(row, Answer) and row.model == pipeline.model.config.name for row in rows)
    assert [(row.start_seconds, row.query) for row in rows] == [
        (0.0, FOCAL),
        (0.0, LIST),
        (10.0, FOCAL),
        (10.0, LIST),
    ]


def test_higher_floor_never_names_more(pipeline: Pipeline, model: NatureLM, real_audio: Path) -> None:
    path = real_audio / "osn_birds_10s.wav"
    named = []
    for floor in (0.01, 0.1, 0.25, 0.5, 0.9, 1.0):
        (answer,) = Pipeline(model=model, min_evidence=floor, max_species=10).answers(path, LIST)
        assert all(found.score is not None and found.score >= floor for found in answer.detections)
        named.append({found.scientific_name for found in answer.detections})
    assert all(higher <= lower for lower, higher in pairwise(named))
    assert named[0] and not named[-1]


def test_broken_recording_is_raised_after_the_others(
    pipeline: Pipeline, make_noise: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    audios = [tmp_path / "text.wav", make_noise("a.wav", 3.0)]
    stream = pipeline.answers(audios, FOCAL)
    assert next(stream).audio_path == str(audios[1])
    with pytest.raises(RecordingsError, match=r"1 of 2 recordings could not be read: .*text\.wav") as caught:
        next(stream)
    assert caught.value.texts == []
    assert [failure.audio_path for failure in caught.value.failures] == [str(audios[0])]

    failures: list[Failure] = []
    texts = pipeline(audios, FOCAL, on_failure=failures.append)
    assert texts[0] == "" and texts[1].startswith("#0.00s - 3.00s#: ")
    assert [failure.audio_path for failure in failures] == [str(audios[0])]


def test_one_broken_recording_costs_no_other_its_text(
    pipeline: Pipeline, make_noise: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    cut = make_noise("cut.wav", 15.0)
    samples, rate = soundfile.read(cut, dtype="float32")
    samples[10 * rate] = np.nan
    soundfile.write(cut, samples, rate, subtype="FLOAT")
    audios = [make_noise("a.wav", 3.0), tmp_path / "text.wav", cut, make_noise("b.wav", 4.0)]

    with pytest.raises(RecordingsError, match=r"2 of 4 recordings .*texts.*text\.wav.*cut\.wav") as caught:
        pipeline(audios, FOCAL)
    assert [text.partition("#: ")[0] for text in caught.value.texts] == [
        "#0.00s - 3.00s",
        "",
        "#0.00s - 10.00s",
        "#0.00s - 4.00s",
    ]
    assert [failure.audio_path for failure in caught.value.failures] == [str(audios[1]), str(cut)]
    assert isinstance(caught.value, RecordingError)
    again = pickle.loads(pickle.dumps(caught.value))  # as a pool of processes hands it over
    assert (str(again), again.texts) == (str(caught.value), caught.value.texts)


def test_array_or_tensor_is_one_recording(pipeline: Pipeline) -> None:
    samples = np.random.default_rng(0).normal(0, 0.02, (2, 3 * 16000)).astype(np.float32)
    from_array = pipeline(samples, FOCAL, input_sample_rate=16000)
    assert len(from_array) == 1
    tensor = torch.from_numpy(samples).requires_grad_()
    assert pipeline(tensor, FOCAL, input_sample_rate=16000) == from_array
    assert pipeline([tensor, samples], FOCAL, input_sample_rate=16000) == from_array * 2

    class OnlyArray:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return samples

    assert pipeline(OnlyArray(), FOCAL, input_sample_rate=16000) == from_array
    with pytest.raises(ConfigError, match=r"0\.5 is no recording; pass samples as an array"):
        pipeline([0.5, 0.25], FOCAL, input_sample_rate=16000)


def test_array_of_paths_is_a_list_of_them(pipeline: Pipeline, make_noise: Callable[..., Path]) -> None:
    paths = [str(make_noise("a.wav", 3.0)), str(make_noise("b.wav", 4.0))]
    for column in (np.array(paths), np.array(paths, dtype=object)):
        assert [text.partition("#: ")[0] for text in pipeline(column, FOCAL)] == [
            "#0.00s - 3.00s",
            "#0.00s - 4.00s",
        ]


def test_leaving_answers_early_ends_the_decoding(pipeline: Pipeline, make_noise: Callable[..., Path]) -> None:
    pipeline.batch_size = 1
    answers = pipeline.answers(make_noise("long.wav", 120.0), FOCAL)
    next(answers)
    del answers
    assert "decode-ahead" not in {thread.name for thread in threading.enumerate()}


def test_files_settings_are_left_out_for_a_model_that_it_does_not_name(model: NatureLM) -> None:
    inference = Path(__file__).parents[2] / "configs" / "inference.yml"
    assert Pipeline(model=model, cfg_path=inference).settings == AnswerSettings()
    assert Pipeline(model="bundled", cfg_path=inference, device="cpu").settings == AnswerSettings()


def test_wrong_arguments_are_said_at_once(
    pipeline: Pipeline, model: NatureLM, make_noise: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_noise("a.wav", 3.0)
    silence = np.zeros(16000, dtype=np.float32)
    with pytest.raises(RecordingError, match=r"gone\.wav does not exist"):
        pipeline.answers([path, tmp_path / "gone.wav"], FOCAL)
    with pytest.raises(ConfigError, match="2 queries for 1 recordings"):
        pipeline([path], [FOCAL, LIST])
    with pytest.raises(ConfigError, match="input_sample_rate"):
        pipeline([silence], FOCAL)
    with pytest.raises(RecordingError, match="File name too long"):
        pipeline([path, "x" * 5000], FOCAL)
    with pytest.raises(ConfigError, match="query is empty"):
        pipeline([path], " ")
    with pytest.raises(ConfigError, match="AudioHere"):
        pipeline.answers([path], [FOCAL, "<AudioHere> or <AudioHere>?"])
    with pytest.raises(ConfigError, match="shorten it"):
        pipeline.answers([path], [FOCAL, "Which species is it? " * 500])
    with pytest.raises(ConfigError, match="--window-length-seconds 3600"):
        pipeline([path], FOCAL, window_length_seconds=3600)
    with pytest.raises(ConfigError, match="channel 2 cannot be had"):
        Pipeline(model=model, channel=2)([silence], FOCAL, input_sample_rate=16000)
    with pytest.raises(ConfigError, match=r"generation\.min_evidence"):
        Pipeline(model=model, min_evidence=1.5)
    with pytest.raises(ConfigError, match="merging"):
        Pipeline(model=model, merging_alpha=0.5)


def test_configuration_gives_windows_and_settings(
    model: NatureLM, make_noise: Callable[..., Path], tmp_path: Path
) -> None:
    cfg = tmp_path / "run.yml"
    cfg.write_text("window_length_seconds: 2.0\nhop_length_seconds: 2.0\ngeneration: {min_evidence: 0.7}\n")
    pipeline = Pipeline(model=model, cfg_path=cfg, batch_size=3)
    assert (pipeline.settings.min_evidence, pipeline.batch_size) == (0.7, 3)
    (text,) = pipeline([make_noise("a.wav", 4.0)], FOCAL)
    assert text.count("\n") == 2


def test_calls_sped_up_beyond_hearing_are_named_when_slowed(model: NatureLM, tmp_path: Path) -> None:
    samples, rate = soundfile.read(ASSETS / "dawn_25s.ogg", dtype="float32")
    bat = tmp_path / "BAT_20230621_235959.wav"
    soundfile.write(bat, soxr.resample(samples, rate, 38400), 384000)
    tit, rate = soundfile.read(ASSETS / "great_tit.ogg", dtype="float32")

    def heard(pipeline: Pipeline) -> list[tuple[float, float, str, str | None]]:
        return [
            (answer.start_seconds, answer.end_seconds, answer.output, answer.recorded_at)
            for answer in pipeline.answers(bat, FOCAL)
        ]

    assert heard(Pipeline(model=model)) == [(0.0, 2.5, "None", "2023-06-21T23:59:59")]
    slowed = Pipeline(model=model, time_expansion=10)
    assert heard(slowed) == [
        (0.0, 1.0, "Northern Saw-whet Owl", "2023-06-21T23:59:59"),
        (1.0, 2.0, "None", "2023-06-22T00:00:00"),
        (2.0, 2.5, "Eastern Wood-Pewee", "2023-06-22T00:00:01"),
    ]
    fast = soxr.resample(tit, rate, 38400)
    assert slowed(fast, FOCAL, input_sample_rate=384000) == ["#0.00s - 1.00s#: Great Tit\n"]
    assert slowed.conversation(bat, end_seconds=0.9).ask(FOCAL).text == "Northern Saw-whet Owl"
    with pytest.raises(ConfigError, match="longer than the 2 s that a conversation"):
        Pipeline(model=model, time_expansion=model.config.max_window_seconds / 2).conversation(bat)
    (written,) = write_tables(slowed.answers(bat, FOCAL), output=tmp_path / "bat.selections.txt")
    lines = [line.split("\t") for line in written.read_text().splitlines()[1:]]
    assert [line[3:8] for line in lines] == [
        ["0.0", "1.0", "0.0", "192000.0", "Northern Saw-whet Owl"],
        ["2.0", "2.5", "0.0", "192000.0", "Eastern Wood-Pewee"],
    ]
    for factor in (0, -10):
        with pytest.raises(
            ConfigError, match=f"time_expansion: input should be greater than 0, got {factor}"
        ):
            Pipeline(model=model, time_expansion=factor)


def test_silence_is_as_asked(model: NatureLM, make_noise: Callable[..., Path], tmp_path: Path) -> None:
    path = make_noise("a.wav", 2.0)
    cfg = tmp_path / "run.yml"
    cfg.write_text("silence_db: -20\n")
    for pipeline in (Pipeline(model=model, silence_db=-20), Pipeline(model=model, cfg_path=cfg)):
        assert [answer.silent for answer in pipeline.answers(path, [FOCAL, LIST])] == [True, True]
        assert pipeline(path, FOCAL) == ["#0.00s - 2.00s#: None\n"]
    assert not next(Pipeline(model=model, cfg_path=cfg, silence_db=-40).answers(path, FOCAL)).silent
    with pytest.raises(ConfigError, match=r"silence_db: input should be less than or equal to 0, got 60"):
        Pipeline(model=model, silence_db=60)


def test_unknown_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    from NatureLM.errors import ModelUnavailableError

    with pytest.raises(ModelUnavailableError, match="no-such-folder"):
        Pipeline(model=str(tmp_path / "no-such-folder"))


def test_dataframe_has_the_columns_of_the_results(pipeline: Pipeline) -> None:
    pandas = pytest.importorskip("pandas")
    bird = Path(__file__).parents[2] / "assets" / "great_tit.ogg"
    table = pipeline.to_dataframe(bird, [FOCAL, "Caption the audio."])
    assert isinstance(table, pandas.DataFrame)
    assert [row.as_row() for row in pipeline.answers(bird, [FOCAL, "Caption the audio."])] == table.to_dict(
        "records"
    )
    long = pipeline.to_dataframe(bird, LIST, 5.0, long=True, merge_consecutive=True)
    assert list(long[["start_seconds", "end_seconds", "common_name"]].itertuples(index=False, name=None)) == [
        (0.0, 10.0, "Great Tit")
    ]


def test_dataframe_says_what_it_lacks(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, make_noise: Callable[..., Path]
) -> None:
    with pytest.raises(ConfigError, match="pass long=True with it"):
        pipeline.to_dataframe(make_noise("a.wav", 1.0), FOCAL, merge_consecutive=True)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="needs pandas, which is not installed: pip install pandas"):
        pipeline.to_dataframe(make_noise("a.wav", 1.0), FOCAL)
