from NatureLM.beans_zero.report import as_csv, as_markdown, as_text, lines, notes
from NatureLM.beans_zero.results import Results
from NatureLM.beans_zero.scoring import Score

ONE = Results(
    "one|a",
    {
        "captioning": Score(
            2, {"CIDEr": 1.5}, {"CIDEr": (1.0, 2.0)}, {"SPICE": "no Java", "SPIDEr": "no Java"}
        ),
        "esc50": Score(4, {"Accuracy": 0.5}, {"Accuracy": (0.25, 0.75)}),
    },
)
TWO = Results(
    "two",
    {
        "captioning": Score(2, {"CIDEr": 2.0, "SPICE": 0.4, "SPIDEr": 0.3}),
        "esc50": Score(1, problem="broken."),
        "gibbons": Score(3, {"mAP": 1.0, "F1": 0.1}),
    },
)


def test_markdown() -> None:
    assert as_markdown([ONE]) == (
        "| component | metric | paper | one\\|a |\n"
        "| --- | --- | ---: | ---: |\n"
        "| esc50 | Accuracy | 0.820 | 0.500 [0.250, 0.750] |\n"
        "| captioning | CIDEr/10 |  | 0.150 [0.100, 0.200] |\n"
    )


def test_csv() -> None:
    assert as_csv([ONE, TWO]).splitlines() == [
        "component,task,metric,paper,model,value,low,high,rows",
        "esc50,classification,Accuracy,0.82,one|a,0.5,0.25,0.75,4",
        "esc50,classification,Accuracy,0.82,two,,,,",
        "gibbons,detection,F1,0.005,one|a,,,,",
        "gibbons,detection,F1,0.005,two,0.1,,,3",
        "captioning,captioning,SPIDEr,0.532,one|a,,,,",
        "captioning,captioning,SPIDEr,0.532,two,0.3,,,2",
        "captioning,captioning,CIDEr/10,,one|a,0.15,0.1,0.2,2",
        "captioning,captioning,CIDEr/10,,two,0.2,,,2",
    ]


def test_text() -> None:
    assert [line.split() for line in as_text([ONE]).splitlines()] == [
        ["component", "metric", "paper", "one|a"],
        ["─" * len(as_text([ONE]).splitlines()[1].strip())],
        ["esc50", "Accuracy", "0.820", "0.500", "[0.250,", "0.750]"],
        ["captioning", "CIDEr/10", "0.150", "[0.100,", "0.200]"],
    ]


def test_captions_of_models_with_spice_have_one_line() -> None:
    assert [line.metric for line in lines([TWO])] == ["Accuracy", "F1", "SPIDEr"]


def test_notes() -> None:
    assert notes([ONE]) == ["captioning: SPICE and SPIDEr skipped: no Java."]
    assert notes([ONE, TWO])[1] == "two, esc50: not scored: broken."
    failed = Results("x", {"captioning": Score(1, {"CIDEr": 0.0}, problem="SPICE failed.")})
    assert notes([failed]) == ["captioning: SPICE failed."]
    part = Results("x", {"esc50": Score(4, {"Accuracy": 0.5})}, {"limit": 4})
    assert notes([part]) == ["at most 4 rows a component (--limit); the paper's figures are of all."]
    about = {"failed_rows": {"esc50": 2, "cbi": 1}, "labels": "component"}
    odd = Results("x", {"esc50": Score(4, {"Accuracy": 0.5})}, about)
    failed_rows = "3 rows failed and are left out of its figures."
    labels = "matched to all labels of a component; the paper's figures to those present."
    assert notes([odd]) == [failed_rows, labels]
    assert notes([odd], failed_rows=False) == [labels]
