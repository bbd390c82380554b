"""The page in a real browser, as a visitor uses it; the screenshots of the documentation come of it too."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

playwright_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is not installed (Debian: apt-get install chromium)", allow_module_level=True)

REPOSITORY = Path(__file__).parents[2]
ASSETS = REPOSITORY / "assets"
PICTURES = os.environ.get("NATURELM_SCREENSHOTS")
"""Folder for the documentation's screenshots; without it they are not written."""

LONG = 120_000
"""Milliseconds: the machine may be busy."""

EXAMPLES = {
    "boreal owl": "Boreal Owl",
    "common cuckoo": "Common Cuckoo",
    "eastern wood pewee": "Eastern Wood-Pewee",
    "great tit": "Great Tit",
    "rain": "None",
    "saw whet owl": "Northern Saw-whet Owl",
    "snowy tree cricket": "Snowy Tree Cricket",
    "spring peeper": "Spring Peeper",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def faults() -> list[str]:
    """What the console complains of, and what is asked of other computers."""
    return []


def open_page(
    browser: Any, server: Any, faults: list[str], width: int = 1200, height: int = 900, **options: Any
) -> Any:
    page = browser.new_page(viewport={"width": width, "height": height}, **options)
    page.set_default_timeout(LONG)
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    own = (server.url, "data:", "blob:")
    page.on("request", lambda sent: None if sent.url.startswith(own) else faults.append(sent.url))
    page.goto(server.url)
    page.wait_for_selector("#ask")
    page.wait_for_selector("#model-state >> text=naturelm-lite")
    return page


@pytest.fixture
def page(browser: Any, server: Any, faults: list[str]) -> Iterator[Any]:
    page = open_page(browser, server, faults)
    yield page
    page.close()
    assert faults == []


def choose(page: Any, example: str) -> None:
    page.get_by_role("button", name=example, exact=True).click()
    page.wait_for_selector(f"#player figcaption >> text={example.replace(' ', '_')}")


def clear(page: Any) -> None:
    page.locator("#clear").click()
    page.wait_for_function("document.querySelectorAll('#chat .message').length == 0")


def slow_down(page: Any, milliseconds: int) -> None:
    """Have what the page sends and gets take longer, as over a network."""
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    speeds = {"downloadThroughput": -1, "uploadThroughput": -1}
    network.send("Network.emulateNetworkConditions", {"offline": False, "latency": milliseconds, **speeds})


def answer_to(page: Any, question: str | None = None) -> str:
    """Ask, wait for the end of the answer, and return its first line."""
    said = page.locator("#chat .bot.message")
    before = page.locator("#chat em").count()
    if question is not None:
        page.get_by_label("Question", exact=True).fill(question)
    page.locator("#ask").click()
    page.wait_for_function("n => document.querySelectorAll('#chat em').length > n", arg=before)
    return str(said.last.inner_text()).splitlines()[0]


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.wait_for_timeout(800)
        path = Path(PICTURES) / f"{name}.png"
        page.screenshot(path=path, full_page=True)
        from PIL import Image

        image = Image.open(path).convert("RGB")
        image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def test_every_example_is_one_click_away_and_known(page: Any) -> None:
    for example, species in EXAMPLES.items():
        choose(page, example)
        clear(page)
        question = "What are the common names for the species in the audio, if any?"
        assert answer_to(page, question) == species


@pytest.mark.parametrize("moment", ["asked", "begun", "answered"])
def test_clear_is_heard_at_any_moment(page: Any, moment: str) -> None:
    """The button is pressed by the page itself, in the very frame."""
    choose(page, "great tit")
    seen = {"asked": "true", "begun": "seen('.bot.message')", "answered": "seen('em')"}[moment]
    for _ in range(4):
        page.get_by_label("Question", exact=True).fill("What species is this?")
        page.evaluate(
            """(moment) => {
              const seen = (what) => document.querySelector(`#chat ${what}`) !== null;
              const look = () => {
                if (!eval(moment)) return requestAnimationFrame(look);
                document.querySelector("#clear").click();
                window.cleared = true;
              };
              window.cleared = false;
              document.querySelector("#ask").click();
              setTimeout(look);
            }""",
            seen,
        )
        page.wait_for_function("window.cleared")
        page.wait_for_function("document.querySelectorAll('#chat .message').length == 0")
        page.wait_for_timeout(1500)
        assert page.locator("#chat .message").count() == 0
    assert answer_to(page, "What species is this?") == "Great Tit"
    assert page.locator("#chat .bot.message").count() == 1


@pytest.mark.parametrize("latency", [0, 200])
def test_stop_is_heard_at_any_moment(page: Any, latency: int) -> None:
    """With no word of it in the console, and what was chosen stays."""
    slow_down(page, latency)
    choose(page, "great tit")
    page.evaluate("window.isSamePage = true")
    for count, moment in enumerate((0, 30, 150, 600), 1):
        page.get_by_label("Question", exact=True).fill("Caption the audio.")
        page.evaluate(
            """(moment) => {
              window.isStopped = false;
              document.querySelector("#ask").click();
              setTimeout(() => {
                document.querySelector("#stop").click();
                window.isStopped = true;
              }, moment);
            }""",
            moment,
        )
        page.wait_for_function("window.isStopped")
        page.wait_for_function("n => document.querySelectorAll('#chat .bot.message').length == n", arg=count)
        page.wait_for_selector("#chat .bot.message >> nth=-1 >> css=em")  # stopped, or answered before
        if moment < 60:
            assert page.locator("#chat .bot.message").last.inner_text().startswith("Stopped.")
    assert answer_to(page, "What species is this?") == "Great Tit"
    assert page.evaluate("window.isSamePage")


def test_others_do_not_wait_for_a_long_recording_that_was_stopped(
    browser: Any, server: Any, faults: list[str], tmp_path: Path
) -> None:
    import numpy as np
    import soundfile

    noise = np.random.default_rng(0).normal(0, 0.02, 290 * 8000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", noise, 8000)
    one, two = open_page(browser, server, faults), open_page(browser, server, faults)
    one.locator("#chat-files input[type=file]").set_input_files(tmp_path / "long.wav")
    one.wait_for_selector("#player figcaption >> text=long.wav")
    one.locator("#ask").click()
    one.wait_for_selector("#chat .bot.message >> text=of 29 windows")
    choose(two, "great tit")
    assert answer_to(two, "What species is this?") == "Great Tit"
    assert "of 29 windows" in one.locator("#chat .bot.message").inner_text()
    one.locator("#stop").click()
    one.wait_for_selector("#chat .bot.message >> text=Stopped.")
    one.close()
    two.close()
    assert faults == []


def test_a_question_that_is_written_while_another_waits_stays(page: Any) -> None:
    choose(page, "great tit")
    box = page.get_by_label("Question", exact=True)
    for question in ("Caption the audio.", "What species is this?"):
        box.fill(question)
        page.locator("#ask").click()
        assert box.input_value() == ""
    box.fill("And its scientific name?")
    page.wait_for_function("document.querySelectorAll('#chat em').length == 2")
    page.wait_for_timeout(1000)
    assert box.input_value() == "And its scientific name?"
    page.locator("#ask").click()
    page.wait_for_selector("#chat .bot.message >> text=Parus major")


@pytest.mark.parametrize("latency", [0, 200])
def test_another_recording_is_asked_about_as_a_whole(page: Any, latency: int) -> None:
    slow_down(page, latency)
    choose(page, "great tit")
    page.locator("#part-start input").fill("6")
    page.locator("#part-end input").fill("8")
    page.locator("#part-end input").press("Tab")
    choose(page, "spring peeper")
    assert answer_to(page, "What species is this?") == "Spring Peeper"
    page.wait_for_selector("#chat-table >> text=Spring Peeper", state="attached")
    text = page.locator("#chat-table").inner_text()
    assert ("10.00" in text, "6.00" in text) == (True, False)
    assert page.locator("#part-start input").input_value() == "0"
    assert page.locator("#part-end input").input_value() == ""


def test_a_question_that_cannot_be_answered_is_not_lost(
    browser: Any, server: Any, faults: list[str], tmp_path: Path
) -> None:
    page = open_page(browser, server, faults)
    choose(page, "great tit")
    box = page.get_by_label("Question", exact=True)
    for start, end in (("5", "3"), ("90", "100"), ("-1", "")):
        page.locator("#part-start input").fill(start)
        page.locator("#part-end input").fill(end)
        page.locator("#part-end input").press("Tab")
        clear(page)
        box.fill("What species is this?")
        page.locator("#ask").click()
        page.wait_for_selector("#chat .bot.message >> text=Choose another part.")
        page.wait_for_function("document.querySelector('#question textarea').value != ''")
        assert box.input_value() == "What species is this?"
    page.get_by_role("button", name="Whole recording").click()
    page.locator("#ask").click()
    page.wait_for_selector("#chat .bot.message >> text=Great Tit")
    assert box.input_value() == ""
    (tmp_path / "damaged.wav").write_bytes(b"no sound")
    page.close()
    page = open_page(browser, server, faults)
    box = page.get_by_label("Question", exact=True)
    page.locator("#chat-files input[type=file]").set_input_files(tmp_path / "damaged.wav")
    page.wait_for_selector("#chat-notice >> text=damaged.wav")
    box.fill("Caption the audio.")
    page.locator("#ask").click()
    page.wait_for_selector("#chat .bot.message >> text=damaged.wav is not audio that can be read")
    page.wait_for_function("document.querySelector('#question textarea').value != ''")
    assert page.locator("#chat").get_by_text("Error", exact=True).count() == 0
    page.close()
    assert faults == []


def test_an_upload_is_asked_about_and_asked_on(page: Any) -> None:
    page.locator("#chat-files input[type=file]").set_input_files(ASSETS / "great_tit_and_common_cuckoo.ogg")
    page.wait_for_selector("#player figcaption >> text=great_tit_and_common_cuckoo.ogg")
    assert answer_to(page, "What species is this?") == "Common Cuckoo"
    assert answer_to(page, "Which other species are there?") == "Great Tit"
    page.wait_for_selector("#player .player-span >> text=Great Tit")
    picture(page, "app_ask")
    assert answer_to(page, "And its scientific name?") == "Parus major"
    slider = page.locator("#floor input[type=number]")
    slider.fill("0.99")
    slider.press("Enter")
    page.locator("#floor input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    clear(page)


def test_the_cursor_moves_and_a_drag_chooses_a_part(page: Any) -> None:
    choose(page, "dawn 25s")
    page.wait_for_function("document.querySelector('#player audio').readyState >= 1")
    page.evaluate("document.querySelector('#player audio').muted = true")
    page.evaluate("document.querySelector('#player audio').play()")
    page.wait_for_function("parseFloat(document.querySelector('#player .player-cursor').style.left) > 1")
    page.evaluate("document.querySelector('#player audio').pause()")
    box = page.locator("#player .player-picture").bounding_box()
    page.mouse.move(box["x"] + 0.82 * box["width"], box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 80, steps=4)
    page.mouse.move(box["x"] + 0.99 * box["width"], box["y"] + 80, steps=4)
    page.mouse.up()
    start = float(page.locator("#part-start input").input_value())
    assert start == pytest.approx(0.82 * 25, abs=0.3)
    page.wait_for_timeout(500)
    assert answer_to(page, "What species is this?") == "Eastern Wood-Pewee"
    assert "20." in page.locator("#chat-table").inner_text()


def test_the_part_is_drawn_whoever_chose_it(page: Any) -> None:
    choose(page, "dawn 25s")
    axis = page.locator("#player .player-time").bounding_box()
    picture = page.locator("#player .player-picture").bounding_box()
    assert axis["height"] > 10  # before anything is answered, too
    assert axis["y"] >= picture["y"] + picture["height"]
    box = page.locator("#player .player-selection")
    assert box.is_hidden()
    for name, value in (("part-start", "5"), ("part-end", "15")):
        page.locator(f"#{name} input").fill(value)
        page.locator(f"#{name} input").press("Tab")
    page.wait_for_function(
        """() => {
          const { left, width } = document.querySelector('#player .player-selection').style;
          return Math.abs(parseFloat(left) - 20) < 0.1 && Math.abs(parseFloat(width) - 40) < 0.1;
        }"""
    )
    assert box.is_visible()
    page.get_by_role("button", name="Whole recording").click()
    page.wait_for_function("document.querySelector('#player .player-selection').hidden")


def test_a_finger_that_scrolls_chooses_no_part(browser: Any, server: Any, faults: list[str]) -> None:
    page = open_page(browser, server, faults, width=390, height=844, has_touch=True)
    choose(page, "dawn 25s")
    page.locator("#player .player-picture").scroll_into_view_if_needed()
    box = page.locator("#player .player-picture").bounding_box()
    x, y = box["x"] + 0.2 * box["width"], box["y"] + 150
    touch = page.context.new_cdp_session(page)

    def finger(kind: str, dx: float = 0, dy: float = 0) -> None:
        points = [] if kind == "touchEnd" else [{"x": x + dx, "y": y + dy}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    finger("touchStart")
    for step in range(1, 13):
        finger("touchMove", 0, -10 * step)
    finger("touchEnd")
    page.wait_for_timeout(300)
    page.mouse.move(box["x"] + 0.9 * box["width"], 300)
    page.locator("#ask").dispatch_event("pointerup", {"bubbles": True, "clientX": 300})
    page.wait_for_timeout(300)
    assert page.locator("#part-start input").input_value() == "0"
    assert page.locator("#part-end input").input_value() == ""
    page.close()
    assert faults == []


def test_the_floor_answers_again(page: Any) -> None:
    choose(page, "great tit")
    assert answer_to(page, "What are the common names for the species in the audio, if any?") == "Great Tit"
    slider = page.locator("#floor input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#chat .bot.message >> text=None")
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    page.wait_for_selector("#chat .bot.message >> text=Great Tit")


def test_a_batch_is_answered_charted_and_downloaded(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Batch").click()
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    names = ("great_tit.ogg", "spring_peeper.ogg", "dawn_25s.ogg", "snowy_tree_cricket.ogg")
    files = [ASSETS / name for name in names]
    page.locator("#batch-files input[type=file]").set_input_files([*files, tmp_path / "broken.wav"])
    page.wait_for_selector("#batch-files >> text=snowy_tree")
    length, hop = (page.locator(f"#batch-{name} input") for name in ("window", "hop"))
    for seconds in ("5", "10"):  # the hop follows the window
        length.fill(seconds)
        page.wait_for_function(f"document.querySelector('#batch-hop input').value == {seconds}")
    assert hop.input_value() == "10"
    page.locator("#batch-run").click()  # while the files are looked at
    page.wait_for_selector("#batch-progress >> text=Done.")
    assert "6 answers about 4 of 5 recordings" in page.locator("#batch-progress").inner_text()
    assert "broken.wav" in page.locator("#batch-progress").inner_text()
    assert "Spring Peeper" in page.locator("#batch-chart").inner_text()
    with page.expect_download() as download:
        page.locator("a[download*=audacity]").first.click()
    download.value.save_as(tmp_path / "labels.zip")
    with zipfile.ZipFile(tmp_path / "labels.zip") as labels:
        texts = [labels.read(name).decode() for name in labels.namelist()]
    assert "0.000000\t10.000000\tSpring Peeper\n" in texts
    picture(page, "app_batch")
    assert sorted_by(page, "start (s)", "Sort ascending")[1] == ["0.00"] * 4 + ["10.00", "20.00"]
    assert sorted_by(page, "start (s)", "Sort descending")[1] == ["20.00", "10.00"] + ["0.00"] * 4
    sorted_by(page, "start (s)", "Clear sort")
    answers = sorted_by(page, "answer", "Sort descending")[3]
    assert answers == sorted(answers, reverse=True)
    assert answers[0] == "Spring Peeper"


def sorted_by(page: Any, heading: str, how: str) -> list[list[str]]:
    """Sort the table as its label says; return its columns."""
    header = page.locator("#batch-table [role=columnheader]", has_text=heading).last
    header.hover()
    header.locator("button").click()
    page.get_by_role("menuitem", name=how).click()
    page.wait_for_timeout(1000)
    rows = page.locator("#batch-table .virtual-body [role=row]").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('[role=gridcell]')].map(of => of.innerText.trim()))"
    )
    return [list(column) for column in zip(*rows, strict=True)]


def test_a_long_recording_is_cancelled_and_heard_through(page: Any, faults: list[str]) -> None:
    page.get_by_role("tab", name="Long recording").click()
    chosen = page.get_by_label("From the folder of recordings (nothing is uploaded)")
    chosen.fill("june/long.flac")
    chosen.press("Enter")
    length, hop = (page.locator(f"#long-{name} input[type=number]") for name in ("window", "hop"))
    for seconds in ("4", "10"):  # the hop follows the window
        length.fill(seconds)
        length.press("Tab")
        page.wait_for_function(f"document.querySelector('#long-hop input[type=number]').value == {seconds}")
    hop.fill("0.5")
    hop.press("Tab")
    length.fill("8")  # no more, once it has a value of its own
    length.press("Tab")
    length.fill("10")
    length.press("Tab")
    page.wait_for_timeout(500)
    assert (length.input_value(), hop.input_value()) == ("10", "0.5")
    page.locator("#long-run").click()
    page.wait_for_selector("#long-progress [role=progressbar]")
    page.wait_for_selector("#long-progress >> text=left")
    page.locator("#long-cancel").click()
    page.wait_for_selector("#long-progress >> text=Cancelled.")
    hop.fill("20")
    hop.press("Tab")
    page.locator("#long-run").click()
    page.wait_for_selector("#long-progress >> text=30 answers about 1 of 1 recordings")
    assert "Northern Saw-whet Owl" in page.locator("#long-timeline").inner_text()
    assert page.locator("#long-timeline .lane i").count() >= 15
    picture(page, "app_long")


def begin_long(page: Any, hop: str) -> None:
    """Begin to hear the long recording through."""
    page.get_by_role("tab", name="Long recording").click()
    chosen = page.get_by_label("From the folder of recordings (nothing is uploaded)")
    if chosen.input_value() != "june/long.flac":
        chosen.fill("june/long.flac")
        chosen.press("Enter")
    field = page.locator("#long-hop input[type=number]")
    field.fill(hop)
    field.press("Tab")
    page.locator("#long-run").click()


def test_a_press_during_a_run_and_one_after_cancel_are_heard(page: Any) -> None:
    begin_long(page, "0.5")
    page.wait_for_selector("#long-progress [role=progressbar]")
    begin_long(page, "20")
    page.wait_for_selector("#long-progress >> text=30 answers about 1 of 1 recordings")
    begin_long(page, "0.5")
    page.wait_for_selector("#long-progress [role=progressbar]")
    page.locator("#long-cancel").click()
    begin_long(page, "20")
    page.wait_for_selector("#long-progress >> text=Done.")
    assert "30 answers about 1 of 1 recordings" in page.locator("#long-progress").inner_text()
    page.wait_for_timeout(3000)
    assert "30 answers about 1 of 1 recordings" in page.locator("#long-progress").inner_text()
    page.locator("#long-question textarea").fill("")
    page.locator("#long-run").click()
    page.wait_for_selector("#long-progress >> text=the answers here are about long.flac")
    page.locator("#long-question textarea").fill("What species is this?")
    page.locator("#long-file input[type=file]").set_input_files(ASSETS / "great_tit.ogg")
    page.wait_for_function("document.querySelector('#long-chosen input').value == ''")
    page.locator("#long-run").click()
    page.wait_for_selector("#long-progress >> text=1 answer about 1 of 1 recordings")
    begin_long(page, "20")
    page.wait_for_selector("#long-progress >> text=30 answers about 1 of 1 recordings")
    assert "great_tit" not in page.locator("#long-file").inner_text()


def test_a_run_ends_with_its_page(page: Any, server: Any, faults: list[str]) -> None:
    before = set(server.temporary.glob("naturelm-app-*/uploads/*/results.jsonl"))
    begin_long(page, "0.5")
    page.wait_for_selector("#long-progress [role=progressbar]")
    page.wait_for_selector("#long-progress >> text=left")
    (results,) = set(server.temporary.glob("naturelm-app-*/uploads/*/results.jsonl")) - before
    page.reload()
    page.wait_for_selector("#model-state >> text=naturelm-lite")
    faults.clear()  # of the page that was left: its streams were cut
    page.wait_for_timeout(20_000)  # the batch that was with the model
    answers = results.read_text().count("\n")
    page.wait_for_timeout(10_000)
    assert results.read_text().count("\n") == answers
    assert answers < 1200


def test_faults_are_said_in_the_page(browser: Any, server: Any, tmp_path: Path) -> None:
    page = open_page(browser, server, [])
    page.locator("#ask").click()
    page.wait_for_selector("text=There is no recording; drop one, or take an example.")
    (tmp_path / "damaged.wav").write_bytes(b"no sound")
    page.locator("#chat-files input[type=file]").set_input_files(tmp_path / "damaged.wav")
    page.wait_for_selector("#chat-notice [role=alert] >> text=damaged.wav")
    (tmp_path / "notes.txt").write_text("no sound")
    page.get_by_role("tab", name="Batch").click()
    page.locator("#batch-files input[type=file]").set_input_files(
        [tmp_path / "damaged.wav", tmp_path / "notes.txt"]
    )
    page.wait_for_selector("text=Invalid file type: notes.txt.")  # it is not even sent
    page.wait_for_selector("#batch-progress [role=alert] >> text=damaged.wav is not audio that can be read")
    assert "Traceback" not in page.content()
    page.close()


def test_two_visitors_have_their_own_conversations(browser: Any, server: Any, faults: list[str]) -> None:
    one, two = open_page(browser, server, faults), open_page(browser, server, faults)
    choose(one, "great tit")
    choose(two, "spring peeper")
    assert answer_to(one, "What species is this?") == "Great Tit"
    assert answer_to(two, "What species is this?") == "Spring Peeper"
    assert answer_to(one, "And its scientific name?") == "Parus major"
    assert answer_to(two, "And its scientific name?") == "Pseudacris crucifer"
    one.close()
    two.close()


def test_it_fits_a_phone(browser: Any, server: Any, faults: list[str]) -> None:
    page = open_page(browser, server, faults, width=390, height=844)
    choose(page, "great tit")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert answer_to(page, "What species is this?") == "Great Tit"
    assert page.locator("#player .player-picture").bounding_box()["width"] > 250
    page.wait_for_selector("#chat-table >> text=Great Tit", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "app_phone")
    page.close()


@pytest.mark.parametrize("tab", ["Ask", "Batch", "Long recording"])
def test_it_is_accessible(page: Any, tab: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.get_by_role("tab", name=tab).click()
    if tab == "Ask":
        choose(page, "great tit")
        answer_to(page, "What species is this?")
    page.wait_for_timeout(1000)
    found = axe.run(page).response["violations"]
    serious = {
        fault["id"]: [node["html"][:200] for node in fault["nodes"]]
        for fault in found
        if fault["impact"] in ("serious", "critical")
    }
    assert serious == {}


def test_the_keyboard_reaches_the_controls(page: Any) -> None:
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const own = document.activeElement.closest('[id]:not([id^=component])');"
                "return own ? own.id : ''; })()"
            )
        )
    assert {"chat-files", "examples", "question", "task", "ask", "clear", "floor", "part-start"} <= reached
