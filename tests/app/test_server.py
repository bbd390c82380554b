"""A whole app, as a user starts it and as programs use it."""

from __future__ import annotations

import html
import json
import re
import select
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

client_module = pytest.importorskip("gradio_client")

REPOSITORY = Path(__file__).parents[2]
ASSETS = REPOSITORY / "assets"
DOCUMENT = (REPOSITORY / "docs" / "app.md").read_text(encoding="utf-8")
QUERY = "What are the common names for the species in the audio, if any?"
Status = Callable[..., int]


@pytest.fixture(scope="module")
def client(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("downloads")
    return client_module.Client(server.url, verbose=False, download_files=str(folder))


def raw(server: Any, path: str) -> bytes:
    """Return what the server answers to a path that is sent as it stands."""
    host, port = urllib.parse.urlsplit(server.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def upload(server: Any, name: str, content: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Upload a file; return the status and the answer."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    request = urllib.request.Request(
        server.url + "gradio_api/upload",
        head + content + b"\r\n--x--\r\n",
        {"Content-Type": "multipart/form-data; boundary=x", **(headers or {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, None


def test_the_page_answers_within_five_seconds_of_the_command(server: Any) -> None:
    assert 0.0 < server.seconds < 5.0


def test_the_page_needs_nothing_from_elsewhere(server: Any) -> None:
    with urllib.request.urlopen(server.url, timeout=60) as answer:
        page = answer.read().decode()
        policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    fetched = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?://[^"]+)', page)
    assert [url for url in fetched if not url.startswith(server.url)] == []
    assert '"analytics_enabled":false' in page.replace(" ", "")


def test_the_documented_example_prints_what_it_says(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    monkeypatch.chdir(REPOSITORY)
    printed = StringIO()
    with redirect_stdout(printed):
        exec(code.replace("http://127.0.0.1:5001/", server.url), {})
    assert printed.getvalue().strip() == re.findall(r"\)  # (.*)", code)[0]


def test_the_endpoint_gives_the_rows_of_the_command_line(client: Any) -> None:
    rows = client.predict(
        client_module.handle_file(ASSETS / "dawn_25s.ogg"), QUERY, 10.0, 10.0, 0.25, api_name="/ask"
    )
    assert [(row["start_seconds"], row["end_seconds"], row["output"]) for row in rows] == [
        (0.0, 10.0, "Northern Saw-whet Owl"),
        (10.0, 20.0, "None"),
        (20.0, 25.0, "Eastern Wood-Pewee"),
    ]
    assert rows[0]["audio_path"] == "dawn_25s.ogg"
    assert rows[0]["model"] == "naturelm-lite"
    assert rows[0]["detections"][0]["scientific_name"] == "Aegolius acadicus"
    none = client.predict(
        client_module.handle_file(ASSETS / "great_tit.ogg"), QUERY, 10.0, 10.0, 0.999, api_name="/ask"
    )
    assert none[0]["output"] == "None"


def test_the_model_says_what_it_is(client: Any) -> None:
    told = client.predict(api_name="/model")
    assert (told["name"], told["max_window_seconds"], told["min_evidence"]) == ("naturelm-lite", 30.0, 0.25)
    assert told["warnings"] == []


def test_only_named_endpoints_are_offered(client: Any) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {"/ask", "/model", "/batch", "/long_recording"}


def test_a_batch_ends_with_its_files(client: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    files = [ASSETS / "great_tit.ogg", ASSETS / "rain.ogg", broken]
    progress, chart, rows, downloads = client.predict(
        [client_module.handle_file(path) for path in files], QUERY, 10.0, 10.0, 0.25, api_name="/batch"
    )
    assert "2 answers about 2 of 3 recordings" in progress
    assert "broken.wav" in progress
    assert "<span>Great Tit</span>" in chart
    assert [row[3] for row in rows["data"]] == ["Great Tit", "None"]
    by_name = {Path(path).name: path for path in downloads}
    answers = ["results.jsonl", "results.csv", "results.raven.zip", "results.audacity.zip"]
    assert list(by_name) == [*answers, "results.failures.jsonl"]
    (line,) = Path(by_name["results.failures.jsonl"]).read_text().splitlines()
    failure = json.loads(line)
    assert failure["audio_path"] == "broken.wav"
    assert failure["reason"].startswith("broken.wav is not audio that can be read")
    with zipfile.ZipFile(by_name["results.audacity.zip"]) as labels:
        texts = [labels.read(name).decode() for name in labels.namelist()]
    assert "0.000000\t10.000000\tGreat Tit\n" in texts


def test_a_damaged_recording_does_not_count_as_answered(client: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    files = [client_module.handle_file(path) for path in (ASSETS / "rain.ogg", tmp_path / "broken.wav")]
    progress, *_ = client.predict(files, QUERY, 10.0, 10.0, 0.25, api_name="/batch")
    assert "1 answer about 1 of 2 recordings." in progress
    assert "Not all could be read" in progress


def test_a_recording_of_the_folder_is_heard_without_uploading(client: Any) -> None:
    progress, lanes, rows, _ = client.predict(
        None, "june/long.flac", QUERY, 10.0, 60.0, 0.25, api_name="/long_recording"
    )
    assert "10 answers about 1 of 1 recordings" in progress
    assert "Northern Saw-whet Owl" in lanes
    assert len(rows["data"]) == 10


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/passwd", "link.wav", "june/../../secret.wav"])
def test_no_endpoint_takes_a_recording_from_elsewhere(client: Any, name: str) -> None:
    with pytest.raises(Exception, match="not in the folder of recordings"):
        client.predict(None, name, QUERY, 10.0, 10.0, 0.25, api_name="/long_recording")


def call(server: Any, endpoint: str, data: list[Any]) -> str:
    """Call an endpoint without the client, which would upload files, and return all that it says."""
    address = f"{server.url}gradio_api/call{endpoint}"
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        event = json.loads(answer.read())["event_id"]
    with urllib.request.urlopen(f"{address}/{event}", timeout=120) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("name", ["outside", "recordings/june/../../secret.wav", "recordings/link.wav"])
def test_no_endpoint_takes_a_file_that_was_not_uploaded(server: Any, name: str) -> None:
    path = str(server.outside) if name == "outside" else f"{server.recordings.parent}/{name}"
    for named in ({"path": path}, {"path": path, "url": f"file://{path}"}):
        outside = {**named, "meta": {"_type": "gradio.FileData"}}
        for endpoint, data in (
            ("/ask", [outside, QUERY, 10.0, 10.0, 0.25]),
            ("/batch", [[outside], QUERY, 10.0, 10.0, 0.25]),
            ("/long_recording", [outside, None, QUERY, 10.0, 10.0, 0.25]),
        ):
            said = call(server, endpoint, data)
            assert "event: error" in said, (endpoint, said)
            assert "Saw-whet" not in said


def test_no_route_shows_a_file_from_elsewhere(server: Any, status: Status) -> None:
    inside = str(server.recordings / "june" / "long.flac")
    assert status(f"{server.url}gradio_api/file={inside}") == 200
    there = str(server.recordings)
    for path in (
        str(server.outside),
        "/etc/passwd",
        f"{there}/../secret.wav",
        f"{there}/june/../../secret.wav",
        f"{there}/link.wav",
        f"{there}/%2e%2e/secret.wav",
        f"{there}/..%2fsecret.wav",
        f"{there}/%252e%252e/secret.wav",
        f"//{server.outside}",
        "pyproject.toml",
        "http://127.0.0.1:1/secret",
        "recordings/june/long.flac",  # it is there, seen from the folder that the server runs in
        "recordings/http://127.0.0.1:1/a.wav",
    ):
        for route in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "//gradio_api/file="):
            answer = raw(server, route + path)
            assert answer.split(b" ")[1] in (b"403", b"404", b"400"), (route, path, answer[:200])
            assert b"root:" not in answer
            assert b"RIFF" not in answer
    for route in ("static/../../../../etc/passwd", "assets/..%2f..%2f..%2fetc%2fpasswd", "svelte/../../x"):
        assert b"root:" not in raw(server, f"/{route}")


@pytest.mark.parametrize("address", ["https://example.invalid/a.wav", "http://huggingface.co/a.wav"])
def test_no_endpoint_fetches_an_address(server: Any, address: str) -> None:
    named = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
    for endpoint, data in (
        ("/ask", [named, QUERY, 10.0, 10.0, 0.25]),
        ("/batch", [[named], QUERY, 10.0, 10.0, 0.25]),
        ("/long_recording", [named, None, QUERY, 10.0, 10.0, 0.25]),
    ):
        said = call(server, endpoint, data)
        assert "event: error" in said
        assert "A recording cannot be an address of the network; upload the file instead." in said


def test_of_the_folders_only_recordings_are_shown(server: Any, status: Status) -> None:
    notes = server.recordings / "june" / "notes.html"
    notes.write_text("<script>alert(1)</script>")
    assert status(f"{server.url}gradio_api/file={notes}") == 403
    notes.unlink()
    assert status(f"{server.url}gradio_api/file={ASSETS / 'README.md'}") == 403
    assert status(f"{server.url}gradio_api/file={ASSETS / 'great_tit.ogg'}") == 200


@pytest.mark.parametrize(
    ("name", "kind", "how"),
    [
        ("page.html", "application/octet-stream", "attachment"),
        ("picture.svg", "application/octet-stream", "attachment"),
        ("results.csv", "application/octet-stream", "attachment"),
        ("sound.ogg", "audio/ogg", "inline"),
    ],
)
@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=0-9"}])
def test_uploads_are_no_pages_of_the_site(
    server: Any, name: str, kind: str, how: str, asked: dict[str, str]
) -> None:
    content = b"<script>alert(1)</script>"
    _, (path,) = upload(server, name, content)
    request = urllib.request.Request(f"{server.url}gradio_api/file={path}", headers=asked)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.read() == (content[:10] if asked else content)
        assert answer.headers["content-type"] == kind
        assert answer.headers["content-disposition"].partition(";")[0] == how


@pytest.mark.parametrize(
    "route",
    [
        *("proxy=http://127.0.0.1:1/", "vibe-code", "runs", "run-history/records", "dev/reload", "deep_link"),
        "openapi.json",
    ],
)
def test_routes_that_the_page_does_not_need_are_closed(server: Any, status: Status, route: str) -> None:
    assert status(f"{server.url}gradio_api/{route}") == 404
    assert status(f"{server.url}{route}") == 404
    assert status(f"{server.url}monitoring") == 404


@pytest.mark.parametrize(("site", "expected"), [("cross-site", 403), ("same-origin", 200), ("none", 200)])
def test_pages_of_other_sites_upload_nothing(server: Any, site: str, expected: int) -> None:
    assert upload(server, "a.wav", b"RIFF", {"Sec-Fetch-Site": site})[0] == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *(
            (name, 200)
            for name in ("127.0.0.1", "127.0.0.1:5001", "localhost:5001", "[::1]:5001", "a.localhost")
        ),
        *(
            (name, 421)
            for name in ("evil.example", "evil.example:5001", "127.0.0.1.evil.example", "", "[::1")
        ),
        *((name, 421) for name in ("localhost.evil.example", "evil.example@127.0.0.1.evil.example")),
    ],
)
def test_no_other_site_passes_for_this_computer(
    server: Any, status: Status, host: str, expected: int
) -> None:
    assert status(f"{server.url}config", headers={"Host": host}) == expected


def test_uploads_are_limited(server: Any) -> None:
    status_small, paths = upload(server, "a.wav", b"x" * 1000)
    assert status_small == 200
    assert Path(paths[0]).is_relative_to(server.temporary)
    assert upload(server, "large.wav", b"x" * 5_100_000)[0] == 413
    _, paths = upload(server, "../../../escaped.wav", b"x")
    assert Path(paths[0]).resolve().is_relative_to(server.temporary.resolve())
    assert not list(server.temporary.parent.glob("escaped.wav"))


@pytest.mark.parametrize("route", ["gradio_api/call/model", "gradio_api/queue/join", "gradio_api/uploads"])
def test_a_request_without_a_length_is_limited_too(server: Any, status: Status, route: str) -> None:
    host, port = urllib.parse.urlsplit(server.url).netloc.split(":")
    chunk = b"x" * 1_000_000
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST /{route} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        sent, answer = 0, b""
        try:
            while sent < 30 and not select.select([connection], [], [], 0.02)[0]:
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                sent += 1
            answer = connection.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            answer = connection.recv(65536)
    assert answer.split(b" ")[1] in (b"413", b"404", b"405")
    assert sent < 30
    assert status(f"{server.url}config") == 200


def test_a_small_request_without_a_length_is_answered(server: Any) -> None:
    host, port = urllib.parse.urlsplit(server.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST /gradio_api/call/model HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b'6\r\n{"data\r\n6\r\n": []}\r\n0\r\n\r\n')
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"event_id" in answer


GREAT_TIT = client_module.handle_file(ASSETS / "great_tit.ogg")


@pytest.mark.parametrize(
    ("endpoint", "data", "message"),
    [
        ("/batch", [[GREAT_TIT], QUERY, None, 10.0, 0.25], "Window: give a number of seconds."),
        ("/batch", [[GREAT_TIT], QUERY, "x", 10.0, 0.25], "Window: give a number of seconds."),
        ("/batch", [[GREAT_TIT], QUERY, 10.0, None, 0.25], "Hop: give a number of seconds."),
        ("/batch", [[GREAT_TIT], QUERY, 10.0, 10.0, None], "Evidence floor: give a number from 0 to 1."),
        ("/long_recording", [GREAT_TIT, None, QUERY, None, 10.0, 0.25], "Window: give a number of seconds."),
        ("/long_recording", [GREAT_TIT, None, QUERY, 10.0, None, 0.25], "Hop: give a number of seconds."),
        (
            "/long_recording",
            [GREAT_TIT, None, QUERY, 10.0, 10.0, None],
            "Evidence floor: give a number from 0 to 1.",
        ),
        ("/ask", [GREAT_TIT, None], "question: give a text, for example 'Caption the audio'."),
        ("/ask", [GREAT_TIT, QUERY, "x"], "window_length_seconds: give a number of seconds."),
        ("/ask", [GREAT_TIT, QUERY, 10.0, True], "hop_length_seconds: give a number of seconds."),
        (
            "/ask",
            [GREAT_TIT, QUERY, 10.0, 10.0, None],
            "min_evidence: give a number from 0 to 1, or -1 for the model's own.",
        ),
        ("/ask", [None, QUERY], "There is no recording; pass one with gradio_client.handle_file."),
        ("/ask", [{"path": 5}, QUERY], "There is no recording; pass one with gradio_client.handle_file."),
    ],
)
def test_wrong_values_are_refused_in_one_plain_sentence(
    client: Any, endpoint: str, data: list[Any], message: str
) -> None:
    with pytest.raises(client_module.exceptions.AppError) as raised:
        client.predict(*data, api_name=endpoint)
    assert raised.value.message == message


def test_without_a_hop_windows_follow_one_another(client: Any) -> None:
    rows = client.predict(
        client_module.handle_file(ASSETS / "great_tit.ogg"), QUERY, 5.0, None, api_name="/ask"
    )
    assert [(row["start_seconds"], row["end_seconds"]) for row in rows] == [(0.0, 5.0), (5.0, 10.0)]


@pytest.mark.parametrize("header", [{}, {"Origin": "http://127.0.0.1"}, {"Referer": "http://127.0.0.1/"}])
def test_names_are_plain_text_for_programs_and_escaped_for_the_page(
    server: Any, header: dict[str, str]
) -> None:
    program = client_module.Client(server.url, verbose=False, headers=header)
    name = "<b>it's & more.wav"
    for endpoint, data, said in (
        ("/ask", [GREAT_TIT, " "], "A query is empty; ask something, for example 'Caption the audio'."),
        (
            "/long_recording",
            [None, name, QUERY, 10.0, 10.0, 0.25],
            f"{name}: not in the folder of recordings; choose one from the list.",
        ),
    ):
        with pytest.raises(client_module.exceptions.AppError) as raised:
            program.predict(*data, api_name=endpoint)
        assert raised.value.message == (html.escape(said) if header else said)


def test_the_folder_of_recordings_is_listed_anew_when_the_page_is_loaded(server: Any) -> None:
    with urllib.request.urlopen(server.url + "config", timeout=60) as answer:
        config = json.loads(answer.read())
    (chosen,) = [part["id"] for part in config["components"] if part["props"].get("elem_id") == "long-chosen"]
    (listing,) = [
        each["id"]
        for each in config["dependencies"]
        if each["outputs"] == [chosen] and each["targets"][0][1] == "load"
    ]
    late = server.recordings / "june" / "late.flac"
    soundfile.write(late, np.zeros(16_000, np.float32), 16_000)
    body = json.dumps({"data": [], "fn_index": listing, "session_hash": "listing"}).encode()
    request = urllib.request.Request(
        server.url + "gradio_api/run/predict", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        (update,) = json.loads(answer.read())["data"]
    late.unlink()
    assert [name for name, _ in update["choices"]] == ["june/late.flac", "june/long.flac"]


def test_damaged_files_and_other_types_are_named_in_one_sentence(client: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no recording")
    (tmp_path / "damaged.flac").write_bytes(b"fLaC but no more")
    for name, message in (("notes.txt", "no recording by its name"), ("damaged.flac", "damaged.flac")):
        with pytest.raises(Exception, match=message) as raised:
            client.predict(
                client_module.handle_file(tmp_path / name), QUERY, 10.0, 10.0, 0.25, api_name="/ask"
            )
        assert "Traceback" not in str(raised.value)
        assert "naturelm-app-" not in str(raised.value)


def test_half_a_recording_is_not_taken_for_all_of_it(client: Any, tmp_path: Path) -> None:
    samples, rate = soundfile.read(ASSETS / "dawn_25s.ogg")
    soundfile.write(tmp_path / "cut.flac", samples, rate)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Exception, match=r"cut\.flac.* use /long_recording") as raised:
        client.predict(
            client_module.handle_file(tmp_path / "cut.flac"), QUERY, 10.0, 10.0, 0.25, api_name="/ask"
        )
    assert "is used" not in str(raised.value)


def test_two_programs_at_once_get_their_own_answers(server: Any) -> None:
    clients = [client_module.Client(server.url, verbose=False) for _ in range(2)]
    files = ["great_tit.ogg", "spring_peeper.ogg"]
    jobs = [
        each.submit(client_module.handle_file(ASSETS / name), QUERY, 10.0, 10.0, 0.25, api_name="/ask")
        for each, name in zip(clients, files, strict=True)
    ]
    assert [job.result(120)[0]["output"] for job in jobs] == ["Great Tit", "Spring Peeper"]


def test_a_taken_port_is_said_in_one_line(server: Any) -> None:
    from NatureLM.app.server import listen
    from NatureLM.app.settings import AppSettings
    from NatureLM.errors import ConfigError

    port = urllib.parse.urlsplit(server.url).port
    assert port is not None
    with pytest.raises(ConfigError, match=f"--port {port}: cannot be bound .* choose another port"):
        listen(AppSettings(port=port))


@pytest.mark.slow
def test_a_three_hour_recording_takes_constant_memory(server: Any, client: Any) -> None:
    psutil = pytest.importorskip("psutil")
    noise = np.random.default_rng(0).normal(0, 0.01, 16_000 * 60).astype(np.float32)
    with soundfile.SoundFile(server.recordings / "night.flac", "w", 16_000, 1) as file:
        for _ in range(180):
            file.write(noise)
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    job = client.submit(None, "night.flac", QUERY, 10.0, 60.0, 0.25, api_name="/long_recording")
    most = before
    while not job.done():
        most = max(most, process.memory_info().rss)
        time.sleep(0.05)
    print(f"{before / 1e6:.0f} MB before, at most {most / 1e6:.0f} MB")
    assert "180 answers" in job.result()[0]
    assert (
        most - before < 600e6
    )  # its samples alone take 690 MB as float32 at 16 kHz, 2 GB at the model's rate
