from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

import NatureLM.infer.engine as engine_module
from NatureLM.errors import ConfigError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.engine import Engine, Finished, Opened, Recording
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

FOCAL = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"


def an_engine(model: NatureLM, batch_size: int = 16, **options: object) -> Engine:
    settings = options.pop("settings", AnswerSettings())
    return Engine(model, settings, batch_size=batch_size, **options)  # type: ignore[arg-type]


def recordings(*paths: Path, queries: tuple[str, ...] = (FOCAL,)) -> list[Recording]:
    return [Recording(str(path), queries, path=path) for path in paths]


def decoding() -> bool:
    return any(thread.name.startswith("decode-ahead") for thread in threading.enumerate())


def test_events_come_in_plan_order(model: NatureLM, make_noise: Callable[..., Path]) -> None:
    paths = [make_noise("a.wav", 12.0), make_noise("b.flac", 3.0), make_noise("c.wav", 21.0)]
    events = list(an_engine(model, batch_size=2).run(recordings(*paths, queries=(FOCAL, LIST))))

    assert [index for index, _ in events] == sorted(index for index, _ in events)
    for index, seconds in enumerate((12.0, 3.0, 21.0)):
        first, *answers, last = [event for place, event in events if place == index]
        assert first == Opened(str(paths[index]), seconds)
        assert last == Finished(str(paths[index]))
        assert all(isinstance(answer, Answer) for answer in answers)
    asked = [
        (Path(event.audio_path).name, event.start_seconds, event.end_seconds, event.query)
        for _, event in events
        if isinstance(event, Answer)
    ]
    windows = [
        ("a.wav", 0.0, 10.0),
        ("a.wav", 10.0, 12.0),
        ("b.flac", 0.0, 3.0),
        ("c.wav", 0.0, 10.0),
        ("c.wav", 10.0, 20.0),
        ("c.wav", 20.0, 21.0),
    ]
    assert asked == [(*window, query) for window in windows for query in (FOCAL, LIST)]


def counted(model: NatureLM, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each call of the encoder from now on adds how many windows it is given."""
    sizes: list[int] = []
    encode = model.encode_audio

    def counting(waveforms: list[np.ndarray], *, whole: bool) -> list[object]:
        sizes.append(len(waveforms))
        return encode(waveforms, whole=whole)

    monkeypatch.setattr(model, "encode_audio", counting)
    return sizes


def test_batches_are_filled_across_recordings_and_encoded_once(
    model: NatureLM, make_noise: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = counted(model, monkeypatch)
    paths = [make_noise(f"{number}.wav", 3.0, seed=number) for number in range(5)]
    events = list(an_engine(model, batch_size=2).run(recordings(*paths, queries=(FOCAL, LIST, "Caption it"))))
    assert sizes == [2, 2, 1]
    assert sum(isinstance(event, Answer) for _, event in events) == 15


def test_answers_do_not_depend_on_the_batch(model: NatureLM, real_audio: Path) -> None:
    names = ["lazuli_bunting.mp3", "stream_noise.mp3", "osn_birds_10s.wav", "bird_cc0.wav"]
    asked = recordings(*(real_audio / name for name in names), queries=(LIST, FOCAL))
    alone, together = (
        [event for _, event in an_engine(model, batch_size).run(asked) if isinstance(event, Answer)]
        for batch_size in (1, 4)
    )
    assert [answer.output for answer in alone] == [answer.output for answer in together]
    np.testing.assert_allclose(
        [answer.mean_logprob for answer in alone], [answer.mean_logprob for answer in together], atol=1e-4
    )


def test_bad_recordings_do_not_stop_the_others(
    model: NatureLM, make_noise: Callable[..., Path], tmp_path: Path
) -> None:
    text = tmp_path / "b_text.wav"
    text.write_text("this is no sound")
    damaged = make_noise("c_damaged.wav", 25.0)
    samples, rate = soundfile.read(damaged, dtype="float32")
    samples[22 * rate] = np.nan
    soundfile.write(damaged, samples, rate, subtype="FLOAT")
    short = make_noise("d_short.wav", 0.2)
    paths = [make_noise("a.wav", 3.0), text, damaged, short, tmp_path / "gone.wav", make_noise("f.wav", 3.0)]

    events = list(an_engine(model).run(recordings(*paths)))
    failures = {
        Path(event.audio_path).name: event.reason for _, event in events if isinstance(event, Failure)
    }
    assert list(failures) == ["b_text.wav", "c_damaged.wav", "gone.wav"]
    assert all(name in reason and "\n" not in reason for name, reason in failures.items())
    assert "22.000 s" in failures["c_damaged.wav"]
    answered = [
        (Path(event.audio_path).name, event.end_seconds) for _, event in events if isinstance(event, Answer)
    ]
    assert answered == [
        ("a.wav", 3.0),
        *(("c_damaged.wav", end) for end in (10.0, 20.0, 22.0)),
        ("d_short.wav", 0.2),
        ("f.wav", 3.0),
    ]


def test_every_channel_by_itself(model: NatureLM, make_noise: Callable[..., Path]) -> None:
    path = make_noise("stereo.wav", 11.0, channels=2)
    answers = [
        event
        for _, event in an_engine(model, channel="each").run(recordings(path))
        if isinstance(event, Answer)
    ]
    assert [(answer.start_seconds, answer.channel) for answer in answers] == [
        (0.0, "1"),
        (0.0, "2"),
        (10.0, "1"),
        (10.0, "2"),
    ]


def test_ultrasonic_recordings_are_warned_of_once_a_run(
    model: NatureLM,
    make_noise: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    paths = [make_noise("bat1.wav", 1.0, sample_rate=256000), make_noise("bat2.wav", 1.0, sample_rate=384000)]
    engine = an_engine(model)
    for _ in range(2):
        list(engine.run(recordings(*paths)))
        (warning,) = [message for message in caplog.messages if "kHz" in message]
        assert "--time-expansion 6" in warning
        assert "256 kHz" in warning and f"{model.config.sample_rate / 2000:g} kHz" in warning
        caplog.clear()


def test_stopping_early_ends_the_decoding(model: NatureLM, make_noise: Callable[..., Path]) -> None:
    run = an_engine(model, batch_size=1).run(recordings(make_noise("long.wav", 120.0)))
    next(run)
    assert decoding()
    run.close()
    assert not decoding()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("soxr: no memory"),
        ValueError("bad block"),
        MemoryError(),
        OSError(5, "Input/output error"),
    ],
)
def test_any_fault_in_decoding_a_file_is_that_files_alone(
    error: Exception, model: NatureLM, make_noise: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make_noise("a.wav", 3.0), make_noise("b.wav", 3.0)]
    probe = engine_module.probe

    def fail_once(path: Path) -> object:
        if path == paths[0]:
            raise error
        return probe(path)

    monkeypatch.setattr(engine_module, "probe", fail_once)
    events = [event for _, event in an_engine(model).run(recordings(*paths))]
    (failure,) = [event for event in events if isinstance(event, Failure)]
    reason = " ".join(str(error).split()) or type(error).__name__
    assert failure.reason == (
        f"{paths[0]} cannot be decoded ({reason}); replace it by an intact copy, or leave it out."
    )
    assert events[-1] == Finished(str(paths[1]))


def test_faults_of_ours_in_decoding_stop_the_run(
    model: NatureLM, make_noise: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "probe", None)
    with pytest.raises(TypeError):
        list(an_engine(model).run(recordings(make_noise("a.wav", 3.0))))


def test_faults_of_the_model_are_not_swallowed(
    model: NatureLM, make_noise: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> list[object]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "encode_audio", fail)
    asked = recordings(make_noise("a.wav", 3.0), make_noise("long.wav", 120.0))
    with pytest.raises(RuntimeError, match="out of memory"):
        list(an_engine(model, batch_size=1).run(asked))
    assert not decoding()


def test_window_beyond_the_models_hearing_is_refused(model: NatureLM) -> None:
    longest = model.config.max_window_seconds
    an_engine(model, window_length_seconds=longest)
    with pytest.raises(ConfigError, match=f"--window-length-seconds {longest + 1:g}.* at most {longest:g} s"):
        an_engine(model, window_length_seconds=longest + 1)
    with pytest.raises(ConfigError, match="--hop-length-seconds 0"):
        an_engine(model, hop_length_seconds=0.0)


def test_answered_windows_are_not_asked_about_again(model: NatureLM, make_noise: Callable[..., Path]) -> None:
    path = make_noise("a.wav", 47.0)
    whole = [event for _, event in an_engine(model, 2).run(recordings(path)) if isinstance(event, Answer)]
    (recording,) = recordings(path)
    rest = list(an_engine(model, 2).batches([replace(recording, answered=2)]))
    assert [[type(event).__name__ for _, event in batch] for batch in rest] == [
        ["Opened"],
        ["Answer", "Answer"],
        ["Answer", "Finished"],
    ]
    assert [event for batch in rest for _, event in batch if isinstance(event, Answer)] == whole[2:]


def test_a_recording_that_can_be_read_again_is_answered_from_its_beginning(
    model: NatureLM, make_noise: Callable[..., Path]
) -> None:
    (recording,) = recordings(make_noise("a.wav", 30.0))

    def happens(until: float) -> list[str]:
        again = replace(recording, answered=2, answered_until=until)
        return [type(event).__name__ for _, event in an_engine(model).run([again])]

    assert happens(14.0) == ["Opened", "BegunAnew", *["Answer"] * 3, "Finished"]
    assert happens(20.0) == ["Opened", "Answer", "Finished"]


def test_share_of_waiting_is_known(model: NatureLM, make_noise: Callable[..., Path]) -> None:
    engine = an_engine(model)
    assert engine.waiting_for_audio_share == 0.0
    list(engine.run(recordings(make_noise("a.wav", 3.0))))
    assert 0.0 < engine.waiting_for_audio_share < 1.0


def test_merging_alpha_needs_lora(model: NatureLM) -> None:
    with pytest.raises(ConfigError, match=r"--merging-alpha.*no LoRA"):
        an_engine(model, settings=AnswerSettings(merging_alpha=0.5))


def test_silent_windows_are_answered_without_the_model(
    model: NatureLM, make_noise: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = make_noise("a.wav", 2.0)  # RMS 0.02: -34 dBFS
    samples, rate = soundfile.read(loud, dtype="float32")
    parts = [samples, 0 * samples, samples / 100, samples, samples / 10]
    for name in ("b.wav", "c.wav"):
        soundfile.write(tmp_path / name, np.concatenate(parts), rate, subtype="FLOAT")
    soundfile.write(tmp_path / "d.wav", 0 * samples, rate)
    asked = recordings(*(tmp_path / name for name in ("b.wav", "c.wav", "d.wav")), queries=(LIST, FOCAL))
    options = {"window_length_seconds": 2.0, "hop_length_seconds": 2.0}
    every = [event for _, event in an_engine(model, 4, **options).run(asked)]

    sizes = counted(model, monkeypatch)
    events = [event for _, event in an_engine(model, 4, silence_db=-60.0, **options).run(asked)]

    assert sizes == [2, 2, 2]  # of four, four and three windows
    assert len(events) == len(every)
    silent = []
    for event, with_model in zip(events, every, strict=True):
        if isinstance(event, Answer) and event.silent:
            assert isinstance(with_model, Answer)
            silent.append((Path(event.audio_path).name, event.start_seconds, event.query))
            assert event == replace(
                with_model, output="None", confidence=None, mean_logprob=None, silent=True, detections=[]
            )
        elif isinstance(event, Answer):
            assert isinstance(with_model, Answer)
            assert (event.output, event.silent) == (with_model.output, False)
        else:
            assert event == with_model
    windows = [("b.wav", 2.0), ("b.wav", 4.0), ("c.wav", 2.0), ("c.wav", 4.0), ("d.wav", 0.0)]
    assert silent == [(*window, query) for window in windows for query in (LIST, FOCAL)]


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_only_digital_silence_lies_below_any_level(
    name: str, model: NatureLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / name, np.zeros(48000, np.float32), 16000)
    monkeypatch.setattr(model, "encode_audio", None)
    (answer,) = [
        event
        for _, event in an_engine(model, silence_db=-1e6).run(recordings(tmp_path / name))
        if isinstance(event, Answer)
    ]
    assert answer.silent


def test_windows_have_absolute_times(model: NatureLM, make_noise: Callable[..., Path]) -> None:
    paths = [
        make_noise("MARSH/20230621_235955.WAV", 12.0),
        make_noise("MARSH_20230621_191730.flac", 2.0),
        make_noise("noise.wav", 2.0),
    ]
    events = list(an_engine(model).run(recordings(*paths)))
    assert [(event.recorded_at, event.site) for _, event in events if isinstance(event, Answer)] == [
        ("2023-06-21T23:59:55", None),
        ("2023-06-22T00:00:05", None),
        ("2023-06-21T19:17:30", "MARSH"),
        (None, None),
    ]
