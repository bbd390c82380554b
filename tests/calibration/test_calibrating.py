import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NatureLM.calibration import calibrate, read_calibration
from NatureLM.calibration.file import logit
from NatureLM.calibration.logistic import fit_logistic
from NatureLM.calibration.picture import draw, reliability, wilson_interval
from NatureLM.errors import ConfigError

TIT = ("Great Tit", "Parus major")
CUCKOO = ("Common Cuckoo", "Cuculus canorus")

Reviewed = tuple[Path, Path, list[Any]]


def table(path: Path, rows: list[tuple[str, float, str, str]]) -> Path:
    lines = ["file,start,end,species,correct"]
    lines += [f"{file},{start},{start + 10},{species},{verdict}" for file, start, species, verdict in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_fits_of_each_species_and_of_all(reviewed_run: Reviewed) -> None:
    reviewed, scores, made = reviewed_run
    calibration = calibrate(reviewed, scores, resamples=0).calibration
    assert (calibration.model, calibration.model_fingerprint) == ("naturelm-lite", "0123456789abcdef")
    assert (calibration.window_length_seconds, calibration.time_expansion) == (10.0, 1.0)
    assert [(each.common_name, each.reviews) for each in calibration.species] == [
        ("Common Cuckoo", 60),
        ("Great Tit", 60),
    ]
    for names in (TIT, CUCKOO, None):
        here = [(found[3], right) for found, right in made if names in (None, found[2])]
        logits = [math.log(score / (1 - score)) for score, _ in here]
        (intercept,), (slope,) = fit_logistic(logits, [right for _, right in here])
        fit = calibration.pooled if names is None else calibration.fit_of(*names)
        assert [fit.intercept, fit.slope] == pytest.approx([intercept, slope], abs=1e-9)
        assert (fit.reviews, fit.right) == (len(here), sum(right for _, right in here))
        assert fit.recordings == 30
        # Probabilities average to what was observed.
        assert np.mean([fit.probability(score) for score, _ in here]) == pytest.approx(
            fit.right / fit.reviews, abs=1e-9
        )
        for threshold in fit.thresholds:
            place = (math.log(threshold.probability / (1 - threshold.probability)) - intercept) / slope
            assert threshold.interval is None
            assert threshold.score == pytest.approx(1 / (1 + math.exp(-place)), abs=1e-6)
            assert threshold.score is not None
            assert fit.probability(threshold.score) == pytest.approx(threshold.probability, abs=1e-4)
            above = [right for score, right in here if score >= threshold.score]
            assert (threshold.reviews, threshold.right) == (len(above), sum(above))
            assert threshold.extrapolated == (threshold.score > max(score for score, _ in here))


def test_intervals_are_seeded_and_hold_the_threshold(reviewed_run: Reviewed) -> None:
    reviewed, scores, _ = reviewed_run
    first, again, other = (
        calibrate(reviewed, scores, resamples=300, seed=seed).calibration for seed in (0, 0, 1)
    )
    assert first == again and first != other
    for threshold in first.pooled.thresholds:
        assert threshold.interval is not None and threshold.score is not None
        low, high = threshold.interval
        assert low is not None and low < threshold.score
        assert high is None or threshold.score < high


def test_species_with_too_few_reviews_share_the_pooled_fit(reviewed_run: Reviewed, tmp_path: Path) -> None:
    reviewed, scores, _ = reviewed_run
    few = [line for line in reviewed.read_text().splitlines() if "Cuckoo" not in line]
    cuckoos = [
        line for line in reviewed.read_text().splitlines() if "Cuckoo" in line and line.endswith("yes")
    ]
    path = tmp_path / "few.csv"
    path.write_text("\n".join([*few, *cuckoos[:12]]) + "\n")
    calibration = calibrate(path, scores, resamples=0).calibration
    cuckoo, tit = calibration.species
    assert (cuckoo.reviews, cuckoo.right, cuckoo.fit) == (12, 12, None)
    assert cuckoo.why_pooled == "fewer than 10 reviews are right, or wrong"
    assert calibration.fit_of(*CUCKOO) == calibration.pooled
    assert calibration.fit_of(*TIT) == tit.fit != calibration.pooled
    assert calibration.fit_of("Ruff", "Calidris pugnax") == calibration.pooled
    assert calibration.pooled.reviews == 72


def test_separated_reviews_have_thresholds(
    make_row: Callable[..., Any], write_run: Any, tmp_path: Path
) -> None:
    scores = [0.3] * 6 + [0.35] * 6 + [0.8] * 6 + [0.85] * 6
    run = write_run([make_row("a.wav", 10.0 * place, (TIT, score)) for place, score in enumerate(scores)])
    reviewed = table(
        tmp_path / "reviewed.csv",
        [
            ("a.wav", 10.0 * place, "Parus major", "yes" if score > 0.5 else "no")
            for place, score in enumerate(scores)
        ],
    )
    fit = calibrate(reviewed, run, resamples=200).calibration.pooled
    assert fit.probability(0.3) < 0.1 < 0.9 < fit.probability(0.85)
    ninety = fit.thresholds[0]
    assert ninety.score is not None and 0.35 < ninety.score < 0.85
    assert (ninety.reviews, ninety.right) == (12, 12)


def test_scores_that_tell_nothing_give_no_threshold(
    make_row: Callable[..., Any], write_run: Any, tmp_path: Path
) -> None:
    scores = [0.3, 0.9] * 15
    run = write_run([make_row("a.wav", 10.0 * place, (TIT, score)) for place, score in enumerate(scores)])
    verdicts = ["yes" if score < 0.5 or place < 10 else "no" for place, score in enumerate(scores)]
    reviewed = table(
        tmp_path / "reviewed.csv",
        [("a.wav", 10.0 * place, "Great Tit", verdict) for place, verdict in enumerate(verdicts)],
    )
    calibration = calibrate(reviewed, run, resamples=0).calibration
    assert calibration.pooled.slope < 0
    assert [threshold.score for threshold in calibration.pooled.thresholds] == [None, None, None]
    assert calibration.species[0].why_pooled == "higher scores are not more often right"


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        (
            ["yes"] * 30,
            r"at least 10 reviews that are right and 10 that are wrong, but 30 are right and 0 wrong",
        ),
        (["yes"] * 4 + ["no"] * 20, r"but 4 are right and 20 wrong; review more"),
        (
            ["?"] * 5,
            r"no review is about a detection of the run: 5 left open \(first: .*reviewed\.csv, line 2\)",
        ),
    ],
)
def test_too_few_reviews(
    make_row: Callable[..., Any], write_run: Any, tmp_path: Path, verdicts: list[str], message: str
) -> None:
    run = write_run(
        [make_row("a.wav", 10.0 * place, (TIT, 0.3 + 0.01 * place)) for place in range(len(verdicts))]
    )
    reviewed = table(
        tmp_path / "reviewed.csv",
        [("a.wav", 10.0 * place, "Great Tit", verdict) for place, verdict in enumerate(verdicts)],
    )
    with pytest.raises(ConfigError, match=message):
        calibrate(reviewed, run)


def test_one_score_only(make_row: Callable[..., Any], write_run: Any, tmp_path: Path) -> None:
    run = write_run([make_row("a.wav", 10.0 * place, (TIT, 0.5)) for place in range(24)])
    rows = [("a.wav", 10.0 * place, "Great Tit", "yes" if place % 2 else "no") for place in range(24)]
    with pytest.raises(ConfigError, match="every reviewed detection has the same score"):
        calibrate(table(tmp_path / "reviewed.csv", rows), run)


@pytest.mark.parametrize("form", ["csv", "long csv", "parquet", "long parquet"])
def test_scores_of_every_format(reviewed_run: Reviewed, tmp_path: Path, form: str) -> None:
    from NatureLM.infer.writers import write_tables

    reviewed, scores, _ = reviewed_run
    ending = form.rpartition(" ")[2]
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    expected = calibrate(reviewed, scores, resamples=0).calibration
    (other,) = write_tables(scores, output=tmp_path / f"run.{ending}", long=form.startswith("long"))
    found = calibrate(reviewed, other, resamples=0).calibration
    assert found.fingerprint == expected.fingerprint


@pytest.mark.parametrize("record", [None, "[" * 100_000])
def test_scores_without_the_record_of_their_run(reviewed_run: Reviewed, record: str | None) -> None:
    reviewed, scores, _ = reviewed_run
    scores.with_name("run.jsonl.run.json").unlink()
    if record is not None:
        scores.with_name("run.jsonl.run.json").write_text(record)
    calibration = calibrate(reviewed, scores, resamples=0).calibration
    assert calibration.model_fingerprint is None
    calibration.check("naturelm-lite", "anything", 3.0, 1.0)
    with pytest.raises(ConfigError, match="is of the model naturelm-lite, but other"):
        calibration.check("other", "anything", 3.0, 1.0)


def test_scores_that_are_none(make_row: Callable[..., Any], write_run: Any, tmp_path: Path) -> None:
    reviewed = table(tmp_path / "reviewed.csv", [("a.wav", 0.0, "Ruff", "yes")])
    with pytest.raises(ConfigError, match="holds no detection with a score"):
        calibrate(reviewed, write_run([make_row("a.wav", 0.0, (TIT, None))]))
    with pytest.raises(ConfigError, match="holds answers of several models"):
        calibrate(
            reviewed,
            write_run([make_row("a.wav", 0.0, (TIT, 0.5)), make_row("a.wav", 10.0, (TIT, 0.5), model="b")]),
        )
    with pytest.raises(ConfigError, match=r"--scores .*absent\.jsonl: no such file"):
        calibrate(reviewed, tmp_path / "absent.jsonl")
    with pytest.raises(ConfigError, match=r"expected results of naturelm infer that end in"):
        calibrate(reviewed, tmp_path / "a.txt")
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=r"wrong\.csv: cannot be read as results of naturelm infer"):
        calibrate(reviewed, tmp_path / "wrong.csv")
    (tmp_path / "deep.csv").write_text("audio_path,model,detections\na.wav,a," + "[" * 100_000 + "\n")
    with pytest.raises(ConfigError, match=r"deep\.csv: cannot be read as .*it is nested too deeply"):
        calibrate(reviewed, tmp_path / "deep.csv")
    row = make_row("a.wav", 0.0, (TIT, 0.5))
    for name, detections in (("text", ["Ruff"]), ("large", [{**row["detections"][0], "score": 10**400}])):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps({**row, "detections": detections}) + "\n")
        with pytest.raises(ConfigError, match=rf"{name}\.jsonl: cannot be read as results of naturelm infer"):
            calibrate(reviewed, path)


def test_file_holds_all_and_is_read_back(reviewed_run: Reviewed, tmp_path: Path) -> None:
    reviewed, scores, _ = reviewed_run
    calibration = calibrate(reviewed, scores, resamples=50).calibration
    path = tmp_path / "c.json"
    calibration.write(path)
    assert read_calibration(path) == calibration
    assert read_calibration(path).fingerprint == calibration.fingerprint
    content = json.loads(path.read_text())
    assert content["naturelm_calibration"] == 1
    assert content["made_of"]["matched"] == 120
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("c.json")] == ["c.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"cannot be read as a calibration file"),
        ("[" * 100_000, r"cannot be read as a calibration file \(it is nested too deeply\)"),
        ("[1]", r"is not a calibration file"),
        ('{"naturelm_calibration": 99}', r"of another version"),
        ('{"naturelm_calibration": 1, "species": []}', r"damaged calibration file \(KeyError: 'pooled'\)"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=rf"c\.json: .*{message}"):
        read_calibration(path)
    with pytest.raises(ConfigError, match=r"d\.json: no such calibration file"):
        read_calibration(tmp_path / "d.json")


def test_other_models_and_windows_are_refused(reviewed_run: Reviewed) -> None:
    reviewed, scores, _ = reviewed_run
    calibration = calibrate(reviewed, scores, resamples=0).calibration
    calibration.check("naturelm-lite", "0123456789abcdef", 10.0, 1.0)
    with pytest.raises(ConfigError, match=r"naturelm-lite \(0123456789abcdef\), but naturelm-lite \(f{16}\)"):
        calibration.check("naturelm-lite", "f" * 16, 10.0, 1.0)
    with pytest.raises(ConfigError, match=r"window length in seconds of 10, but this run has 3"):
        calibration.check("naturelm-lite", "0123456789abcdef", 3.0, 1.0)
    with pytest.raises(ConfigError, match=r"time expansion of 1, but this run has 10"):
        calibration.check("naturelm-lite", "0123456789abcdef", 10.0, 10.0)


def test_logits_of_scores_as_results_have_them() -> None:
    assert logit(0.5) == 0.0
    assert logit(0.8) == pytest.approx(math.log(4))
    assert logit(1.0) == pytest.approx(math.log(999_999))
    assert logit(0.0) == pytest.approx(-math.log(999_999))


def test_picture_and_its_points(reviewed_run: Reviewed, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    reviewed, scores, _ = reviewed_run
    draw(calibrate(reviewed, scores, resamples=0), tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    points = reliability([0.1 * place for place in range(10)], [place > 4 for place in range(10)])
    assert points == [(pytest.approx(0.2), 0, 5), (pytest.approx(0.7), 5, 5)]
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
