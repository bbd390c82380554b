import json
import time
import zipfile
from pathlib import Path

import pytest

from NatureLM.app.house import House
from NatureLM.app.results import counts_chart, failures_html, table, timeline, write_files
from NatureLM.app.run_tab import RunState, end_run
from NatureLM.app.runs import Run

ASSETS = Path(__file__).parents[2] / "assets"
QUERY = "What are the common names for the species in the audio, if any?"


@pytest.fixture
def run(house: House) -> Run:
    paths = [ASSETS / name for name in ("dawn_25s.ogg", "great_tit.ogg")]
    broken = house.files.new_folder() / "great_tit.ogg"
    broken.write_bytes(b"no sound")
    engine = house.model.pipeline().engine(10.0, 10.0)
    run = Run(house.model, engine, [*paths, broken], [QUERY], house.files.new_folder())
    run.start()
    assert run.wait(120)
    return run


def test_a_run_answers_everything_and_names_what_it_cannot_read(run: Run) -> None:
    assert run.error is None
    assert [(row["audio_path"], row["start_seconds"], row["output"]) for row in run.rows()] == [
        ("dawn_25s.ogg", 0.0, "Northern Saw-whet Owl"),
        ("dawn_25s.ogg", 10.0, "None"),
        ("dawn_25s.ogg", 20.0, "Eastern Wood-Pewee"),
        ("great_tit.ogg", 0.0, "Great Tit"),
    ]
    assert len(run.failures) == 1
    assert (run.answers, run.answered_recordings, run.done_recordings) == (4, 2, 3)
    assert run.share == 1.0
    assert run.seconds_left is not None
    assert run.seconds_left < 1.0


def test_another_floor_gives_the_answers_of_a_new_run(run: Run, house: House) -> None:
    model = house.model.pipeline().model
    encode = model.audio_encoder.encode
    model.audio_encoder.encode = lambda *_: pytest.fail("encoded again")  # type: ignore[method-assign]
    try:
        run.wanted_floor = 0.97
        assert list(run.answer_again()) == [1, 2, 3, 4]
        high = [row["output"] for row in run.rows()]
        run.wanted_floor = 0.25
        assert list(run.answer_again())[-1] == 4
    finally:
        model.audio_encoder.encode = encode  # type: ignore[method-assign]
    assert high == ["Northern Saw-whet Owl", "None", "None", "None"]
    assert [row["output"] for row in run.rows()][3] == "Great Tit"


def test_a_file_names_every_recording_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    files = write_files(run.jsonl, run.named, run.failures)
    assert [Path(path).name for path in (files[0], files[-1])] == ["results.jsonl", "results.failures.jsonl"]
    (line,) = Path(files[-1]).read_text().splitlines()
    failure = json.loads(line)
    assert failure["audio_path"] == "great_tit (2).ogg"
    assert "great_tit.ogg is not audio that can be read" in failure["reason"]

    (tmp_path / "results.jsonl").touch()
    only = write_files(tmp_path / "results.jsonl", {}, run.failures)
    assert [Path(path).name for path in only] == ["results.failures.jsonl"]


def test_what_is_not_shown_of_failures_is_counted() -> None:
    shown = failures_html([f"{number}.wav: is empty" for number in range(203)])
    assert shown.count("<li>") == 51
    assert "49.wav" in shown
    assert "50.wav" not in shown
    assert "… and 153 more" in shown
    assert "more" not in failures_html(["a.wav: is empty"])


def test_files_hold_the_answers_by_the_recordings_names(run: Run) -> None:
    files = {Path(path).name: Path(path) for path in write_files(run.jsonl, run.named)}
    assert list(files) == ["results.jsonl", "results.csv", "results.raven.zip", "results.audacity.zip"]
    first = json.loads(files["results.jsonl"].read_text().splitlines()[0])
    assert first["detections"][0]["common_name"] == "Northern Saw-whet Owl"
    lines = files["results.csv"].read_text().splitlines()
    assert len(lines) == 5
    assert lines[4].startswith("great_tit.ogg,mix,0.0,10.0,")
    with zipfile.ZipFile(files["results.audacity.zip"]) as labels:
        (name,) = [name for name in labels.namelist() if "dawn" in name]
        assert labels.read(name).decode().splitlines() == [
            "0.000000\t10.000000\tNorthern Saw-whet Owl",
            "20.000000\t25.000000\tEastern Wood-Pewee",
        ]
    with zipfile.ZipFile(files["results.raven.zip"]) as selections:
        (name,) = [name for name in selections.namelist() if "dawn" in name]
        text = selections.read(name).decode()
    assert text.splitlines()[1].split("\t")[:7] == [
        "1",
        "Spectrogram 1",
        "1",
        "0.0",
        "10.0",
        "0.0",
        "12000.0",
    ]
    assert text.splitlines()[1].endswith("\tdawn_25s.ogg")
    assert str(ASSETS) not in text


def test_files_of_recordings_of_one_name_go_by_the_names_of_the_table(house: House) -> None:
    uploads = [house.files.new_folder() / "great_tit.ogg" for _ in range(2)]
    for path, sound in zip(uploads, ("great_tit.ogg", "dawn_25s.ogg"), strict=True):
        path.write_bytes((ASSETS / sound).read_bytes())
    engine = house.model.pipeline().engine(10.0, 10.0)
    run = Run(house.model, engine, uploads, [QUERY], house.files.new_folder())
    run.start()
    assert run.wait(120)
    assert [row["audio_path"] for row in run.rows()] == ["great_tit.ogg"] + ["great_tit (2).ogg"] * 3
    for _ in range(2):  # files are written anew when a floor is moved
        files = {Path(path).name: path for path in write_files(run.jsonl, run.named)}
    with zipfile.ZipFile(files["results.audacity.zip"]) as labels:
        assert sorted(labels.namelist()) == ["great_tit (2).txt", "great_tit.txt"]
    with zipfile.ZipFile(files["results.raven.zip"]) as selections:
        assert sorted(selections.namelist()) == [
            "great_tit (2).NatureLM.selections.txt",
            "great_tit.NatureLM.selections.txt",
        ]
        lines = selections.read("great_tit (2).NatureLM.selections.txt").decode().splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("\tgreat_tit (2).ogg")
    assert lines[1].split("\t")[6] == "12000.0"  # of the recording itself, whatever it is called


def test_charts_count_and_place_the_answers(run: Run) -> None:
    counts = counts_chart(run.rows())
    assert counts.count("chart-row") == 3
    assert "<span>Great Tit</span>" in counts
    lanes = timeline((row for row in run.rows() if row["audio_path"] == "dawn_25s.ogg"), 25.0)
    assert "left:80.000%;width:20.000%" in lanes  # the pewee, from 20 to 25 s
    assert lanes.count("<i ") == 2  # None is no answer to draw
    assert timeline([], 25.0) == '<p class="chart">Nothing was named so far.</p>'


def test_a_long_lane_has_a_mark_for_the_surest_of_each_stretch(run: Run) -> None:
    (row, *_) = [row for row in run.rows() if row["audio_path"] == "dawn_25s.ogg" and row["detections"]]
    (found,) = row["detections"]
    hours = [
        {
            **row,
            "start_seconds": float(second),
            "end_seconds": second + 1.0,
            "detections": [{**found, "score": 0.9 if second % 10 else 0.95}],
        }
        for second in range(5_000)
    ]
    lanes = timeline(hours, 5_000.0)
    assert lanes.count("<i ") == lanes.count("evidence 0.95") == 500
    assert "<b>5000</b>" in lanes and 'role="img"' not in lanes


def test_windows_are_counted_once_whatever_the_number_of_questions(run: Run, tmp_path: Path) -> None:
    rows = [row | {"query": query} for row in run.rows() for query in (QUERY, "What species is this?")]
    rows[1]["detections"] = [{**found, "score": 1.0} for found in rows[1]["detections"]]
    counts = counts_chart(rows)
    assert counts.count("<b>1</b>") == 3
    assert "<b>2</b>" not in counts
    lanes = timeline(rows[:6], 25.0)
    assert lanes.count("<i ") == 2
    assert "evidence 1.00" in lanes  # of the surest
    jsonl = tmp_path / "results.jsonl"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with zipfile.ZipFile(write_files(jsonl, run.named)[2]) as selections:
        (name,) = [name for name in selections.namelist() if "great" in name]
        lines = selections.read(name).decode().splitlines()
    assert lines[0].endswith("\tBegin Path\tQuestion")
    assert [line.split("\t")[-1] for line in lines[1:]] == [QUERY, "What species is this?"]


def test_the_table_shades_the_confidence(run: Run) -> None:
    styled = table(run.rows())
    assert styled.data["answer"].iloc[0] == "Northern Saw-whet Owl"
    assert list(styled.data["evidence"])[3].startswith("Great Tit 0.9")
    html = styled.to_html()
    assert "background-color: rgba(4, 120, 87, " in html


def test_a_cancelled_run_keeps_what_it_has(house: House) -> None:
    engine = house.model.pipeline().engine(1.0, 0.05)
    engine.batch_size = 4
    run = Run(house.model, engine, [ASSETS / "dawn_25s.ogg"], [QUERY], house.files.new_folder())
    run.start()
    while not run.answers and not run.wait(0.05):
        pass
    run.cancel()
    assert run.wait(60)
    assert run.cancelled
    assert 0 < run.answers < 400
    assert len(list(run.rows())) == run.answers
    assert 0 < run.share < 1


def test_nothing_is_left_of_a_run_whose_visitor_has_left(house: House) -> None:
    engine = house.model.pipeline().engine(1.0, 0.05)
    engine.batch_size = 4
    folder = house.files.new_folder()
    run = Run(house.model, engine, [ASSETS / "dawn_25s.ogg"], [QUERY], folder)
    run.start()
    while not run.answers and not run.wait(0.05):
        pass
    features = folder / "features"
    assert features.exists()
    end_run(RunState(run))
    assert run.wait(60)
    assert run.answers < 400
    assert gone(features)
    assert len(list(run.rows())) == run.answers  # the page may still be open, with links to the results
    run.discard()
    assert gone(folder)
    end_run(RunState())


def gone(folder: Path) -> bool:
    """Wait until a folder is no longer there."""
    until = time.monotonic() + 10
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.02)
    return not folder.exists()
