"""``naturelm infer`` from end to end, with the bundled model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

REPOSITORY = Path(__file__).parents[2]
SHARED_AUDIO = REPOSITORY.parent / "shared" / "audio"
FOCAL = "What is the common name for the focal species in the audio?"

Naturelm = Callable[..., Any]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.skipif(not SHARED_AUDIO.is_dir(), reason="the real recordings of ../shared/audio are not here")
def test_folder_of_real_recordings(naturelm: Naturelm, folder: Path) -> None:
    done = naturelm("infer", "--audio-path", str(SHARED_AUDIO), "--query", FOCAL)
    assert done.returncode == 1, done.stderr

    answers = rows(folder / "inference_output.jsonl")
    first = {Path(row["audio_path"]).name: row for row in reversed(answers)}
    for name, species in {
        "lazuli_bunting.mp3": "Lazuli Bunting",
        "green_treefrog.mp3": "Green Treefrog",
        "sandhill_crane.mp3": "Sandhill Crane",
        "turtle_dove_16khz.flac": "European Turtle-Dove",
        "stream_noise.mp3": "None",
        "jazz_music.mp3": "None",
    }.items():
        assert first[name]["output"] == species
        assert 0.0 < first[name]["confidence"] <= 1.0
        assert [found["common_name"] for found in first[name]["detections"]] == [species][: species != "None"]
    frog = first["green_treefrog.mp3"]
    assert (frog["start_seconds"], frog["channel"], frog["query"]) == (0.0, "mix", FOCAL)
    assert frog["end_seconds"] <= soundfile.info(SHARED_AUDIO / "green_treefrog.mp3").duration

    assert len(done.stdout.splitlines()) == len(answers)
    assert f"{SHARED_AUDIO / 'lazuli_bunting.mp3'}, #0.00s - 10.00s#: Lazuli Bunting" in done.stdout
    (failure,) = rows(folder / "inference_output.jsonl.failures.jsonl")
    assert Path(failure["audio_path"]).name == "empty_2ch.wav"
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(
        rf"12 recordings, {len(answers)} windows, 1 failed \(inference_output\.jsonl\.failures\.jsonl\); "
        r"the model waited for audio \d+% of the time; results in inference_output\.jsonl",
        last,
    )
    assert done.stderr.count("CC BY-NC-SA 4.0") == 1
    assert "\x1b" not in done.stdout + done.stderr


def test_several_queries_windows_and_the_record_of_the_run(
    naturelm: Naturelm, folder: Path, noise: Path
) -> None:
    done = naturelm(
        *("infer", "--audio-path", str(noise), "--query", "Caption the audio", "--query", FOCAL),
        *("--window-length-seconds", "5", "--hop-length-seconds", "5", "--min-evidence", "0.6"),
        *("--output-path", "out.jsonl", "generation.max_species=2"),
    )
    assert done.returncode == 0, done.stderr
    answers = rows(folder / "out.jsonl")
    assert [(row["start_seconds"], row["end_seconds"], row["query"]) for row in answers] == [
        (start, end, query)
        for start, end in [(0.0, 5.0), (5.0, 10.0), (10.0, 12.0)]
        for query in ["Caption the audio", FOCAL]
    ]
    run = json.loads((folder / "out.jsonl.run.json").read_text())
    assert run["queries"] == ["Caption the audio", FOCAL]
    assert run["settings"]["min_evidence"] == 0.6 and run["settings"]["max_species"] == 2
    assert run["window_length_seconds"] == 5.0
    assert (run["windows"], run["answers"], run["failures"], run["complete"]) == (3, 6, 0, True)
    assert 0.0 <= run["waiting_for_audio_share"] <= 1.0
    assert run["model"]["name"] == answers[0]["model"] and len(run["model"]["fingerprint"]) == 16
    assert not (folder / "out.jsonl.failures.jsonl").exists()
    # Nothing of what a terminal is shown goes into a pipe.
    assert not re.search(r"[\x00-\x09\x0b-\x1f]|\d/\d files", done.stdout + done.stderr)


def test_published_command_falls_back_with_a_warning(
    naturelm_process: Naturelm, folder: Path, noise: Path
) -> None:
    done = naturelm_process(
        *("infer", "--cfg-path", str(REPOSITORY / "configs" / "inference.yml"), "--audio-path", str(noise)),
        *("--query", "Caption the audio", "--window-length-seconds", "10.0", "--hop-length-seconds", "10.0"),
    )
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "EarthSpeciesProject/NatureLM-audio" in warning and "bundled" in warning
    run = json.loads((folder / "inference_output.jsonl.run.json").read_text())
    assert run["settings"]["num_beams"] == 1 and run["settings"]["merging_alpha"] is None
    assert {row["model"] for row in rows(folder / "inference_output.jsonl")} == {run["model"]["name"]}
    assert run["model"]["requested"] == "EarthSpeciesProject/NatureLM-audio"


def test_model_named_beside_a_configuration_leaves_its_settings_out(
    naturelm: Naturelm, folder: Path, noise: Path
) -> None:
    inference = str(REPOSITORY / "configs" / "inference.yml")
    done = naturelm(
        *("infer", "--cfg-path", inference, "--model", "bundled", "--max-species", "1"),
        *("--audio-path", str(noise), "--query", FOCAL),
    )
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "were written for EarthSpeciesProject/NatureLM-audio and are left out" in warning
    settings = json.loads((folder / "inference_output.jsonl.run.json").read_text())["settings"]
    assert (settings["num_beams"], settings["merging_alpha"], settings["max_species"]) == (1, None, 1)


def test_one_channel_of_a_stereo_recording(naturelm: Naturelm, folder: Path) -> None:
    bird, rate = soundfile.read(REPOSITORY / "assets" / "great_tit.ogg", dtype="float32")
    rain, rain_rate = soundfile.read(REPOSITORY / "assets" / "rain.ogg", dtype="float32")
    assert rate == rain_rate
    length = min(len(bird), len(rain))
    soundfile.write(folder / "stereo.wav", np.stack([rain[:length], bird[:length]], axis=1), rate)
    soundfile.write(folder / "mono.wav", bird, rate)
    done = naturelm(
        *("infer", "--audio-path", "stereo.wav", "--audio-path", "mono.wav", "--channel", "2"),
        *("--query", FOCAL),
    )
    assert done.returncode == 1, done.stderr
    (answer,) = rows(folder / "inference_output.jsonl")
    assert (answer["audio_path"], answer["channel"], answer["output"]) == ("stereo.wav", "2", "Great Tit")
    assert done.stdout.startswith("stereo.wav, #0.00s - 10.00s, channel 2#: Great Tit  (")
    (failure,) = rows(folder / "inference_output.jsonl.failures.jsonl")
    assert failure["reason"].startswith("mono.wav has 1 channel, so there is no channel 2;")


def test_paths_that_the_shell_made_of_a_pattern(naturelm: Naturelm, folder: Path) -> None:
    for name in ("a.wav", "site=3/b.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, np.zeros(16000), 16000)
    done = naturelm("infer", "--audio-path", "a.wav", "site=3/b.wav", "batch_size=4", "--query", FOCAL)
    assert done.returncode == 0, done.stderr
    found = [row["audio_path"] for row in rows(folder / "inference_output.jsonl")]
    assert found == ["a.wav", "site=3/b.wav"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
def test_full_disk_is_one_sentence_and_costs_no_answer(
    folder: Path, noise: Path, environment: dict[str, str]
) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    (folder / "inference_output.jsonl").write_text("precious\n")
    arguments = ["infer", "--audio-path", str(noise), "--query", FOCAL, "--window-length-seconds", "2"]
    arguments += ["--batch-size", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "NatureLM.cli.main", *arguments, "--hop-length-seconds", "1"],
        cwd=folder,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=limit,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    said, error = done.stderr.splitlines()[-2:]
    kept = rows(folder / "inference_output.jsonl.partial")
    assert 1 <= len(kept) < 11
    assert said == (
        f"Stopped: the {len(kept)} answers so far are kept in inference_output.jsonl.partial. "
        "The same command goes on from here."
    )
    assert error.startswith("naturelm: error: cannot write inference_output.jsonl (File too large); ")
    assert (folder / "inference_output.jsonl").read_text() == "precious\n"
    assert list(folder.glob("*.writing")) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cfg-path", str(REPOSITORY / "configs" / "inference.yml"), "--strict"],
        ["--model", "EarthSpeciesProject/NatureLM-audio"],
    ],
)
def test_no_fallback_where_none_is_wanted(
    arguments: list[str], naturelm: Naturelm, folder: Path, noise: Path
) -> None:
    done = naturelm("infer", "--audio-path", str(noise), "--query", FOCAL, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    (error,) = done.stderr.splitlines()
    assert error.startswith("naturelm: error: The model 'EarthSpeciesProject/NatureLM-audio' cannot be had")
    assert sorted(path.name for path in folder.iterdir()) == ["noise.wav"]


@pytest.mark.parametrize("arguments", [[], ["--strict"]])
def test_damaged_recording_is_status_1_and_stops_only_a_strict_run(
    arguments: list[str], naturelm: Naturelm, folder: Path, noise: Path
) -> None:
    whole = (folder / noise).read_bytes()
    (folder / "cut.wav").write_bytes(whole[: 44 + 2 * 16000 * 11])
    done = naturelm("infer", "--audio-path", ".", "--query", FOCAL, *arguments)
    assert done.returncode == 1
    reason = (
        "cut.wav is cut off or damaged: 11.0 s of the expected 12.0 s could be decoded; "
        "replace it by an intact copy to have the rest. The sound before the damage is used."
    )
    *_, failed, last = [line for line in done.stderr.splitlines() if not line.startswith("Stopped: ")]
    assert failed.startswith(f"failed: {reason}")
    ending = ".partial" if arguments else ""
    found = [row["end_seconds"] for row in rows(folder / f"inference_output.jsonl{ending}")]
    if arguments:
        assert found[:2] == [10.0, 11.0]  # of the batch in which it stopped everything is kept
        assert last.startswith(
            f"naturelm: error: stopped at the first recording that cannot be read (--strict): {reason}"
        )
    else:
        assert found == [10.0, 11.0, 10.0, 12.0]
        assert re.fullmatch(
            r"2 recordings, 4 windows, 1 failed \(inference_output\.jsonl\.failures\.jsonl\); "
            r"the model waited for audio \d+% of the time; results in inference_output\.jsonl",
            last,
        )
    (failure,) = rows(folder / f"inference_output.jsonl{ending}.failures.jsonl")
    assert failure["audio_path"] == "cut.wav" and failure["reason"].startswith(reason)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--window-length-seconds", "3600"], "--window-length-seconds 3600: the model"),
        (["--merging-alpha", "0.5"], "--merging-alpha: the model"),
        (["--cfg-path", str(REPOSITORY / "configs/inference.yml"), "--merging-alpha", "0.5"], "no LoRA"),
    ],
)
def test_what_the_model_cannot_honour_is_bad_usage(
    arguments: list[str], message: str, naturelm: Naturelm, folder: Path, noise: Path
) -> None:
    done = naturelm("infer", "--audio-path", str(noise), "--query", FOCAL, *arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert sorted(path.name for path in folder.iterdir()) == ["noise.wav"]


def test_second_run_replaces_the_same_and_moves_another_aside(
    naturelm: Naturelm, folder: Path, noise: Path
) -> None:
    first = naturelm("infer", "--audio-path", str(noise), "--query", FOCAL)
    before = (folder / "inference_output.jsonl").read_bytes()
    again = naturelm("infer", "--audio-path", str(noise), "--query", FOCAL)
    assert (first.returncode, again.returncode) == (0, 0)
    assert "CC BY-NC-SA" in first.stderr and "CC BY-NC-SA" not in again.stderr
    assert (folder / "inference_output.jsonl").read_bytes() == before
    assert not (folder / "inference_output.1.jsonl").exists()

    other = naturelm("infer", "--audio-path", str(noise), "--query", "Caption the audio")
    assert "now inference_output.1.jsonl" in other.stderr
    assert (folder / "inference_output.1.jsonl").read_bytes() == before
    assert {row["query"] for row in rows(folder / "inference_output.jsonl")} == {"Caption the audio"}


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_run_keeps_its_answers(number: int, folder: Path, environment: dict[str, str]) -> None:
    samples = np.random.default_rng(0).normal(0, 0.02, 1200 * 16000).astype(np.float32)
    soundfile.write(folder / "long.wav", samples, 16000)
    arguments = ["infer", "--audio-path", "long.wav", "--query", FOCAL, "--batch-size", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "NatureLM.cli.main", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("long.wav, #0.00s - 10.00s#: ")
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    kept = rows(folder / "inference_output.jsonl.partial")
    assert 1 <= len(kept) < 120
    assert f"the {len(kept)} answers so far are kept in inference_output.jsonl.partial" in error
    assert sorted(path.name for path in folder.iterdir()) == [
        "inference_output.jsonl.journal",
        "inference_output.jsonl.partial",
        "inference_output.jsonl.partial.run.json",
        "long.wav",
    ]


def test_standard_output_streams_rows_and_nothing_else(naturelm: Naturelm, folder: Path, noise: Path) -> None:
    (folder / "bad.wav").write_text("no sound")
    done = naturelm(
        *("infer", "--audio-path", str(noise), "--audio-path", "bad.wav", "--query", FOCAL),
        *("--output-path", "-"),
    )
    assert done.returncode == 1, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["start_seconds"] for row in answers] == [0.0, 10.0]
    assert "failed: bad.wav" in done.stderr
    last = re.sub(r"\d+%", "N%", done.stderr.splitlines()[-1])
    assert last == (
        "2 recordings, 2 windows, 1 failed; the model waited for audio N% of the time; "
        "results in standard output"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["bad.wav", "noise.wav"]


def test_annotations_and_tables_of_one_run(naturelm: Naturelm, folder: Path) -> None:
    done = naturelm(
        *("infer", "--audio-path", str(REPOSITORY / "assets" / "great_tit.ogg"), "--query", FOCAL),
        *("--window-length-seconds", "5", "--output-path", "june", "--format", "csv,raven"),
        *("--format", "audacity", "--long", "--merge-consecutive"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].endswith("results in june.csv, june.raven, june.audacity")
    assert (folder / "june.audacity" / "great_tit.txt").read_text() == "0.000000\t10.000000\tGreat Tit\n"
    (selection,) = (folder / "june.raven" / "great_tit.NatureLM.selections.txt").read_text().splitlines()[1:]
    assert selection.split("\t")[3:9] == ["0.0", "10.0", "0.0", "24000.0", "Great Tit", "Parus major"]
    assert (folder / "june.csv").read_text().splitlines()[0].endswith(",common_name,scientific_name,score")
    assert not (folder / "june.jsonl").exists()
