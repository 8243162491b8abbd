"""The server of a review: who may ask, what is given, what cannot be had."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket

import numpy as np
import pytest
import soundfile
from PIL import Image
from sounds import sine, write

from audiocnn.data.sources.correction_table import CorrectionTable
from audiocnn.data.sources.corrections import Correction
from audiocnn.errors import UsageError
from audiocnn.evaluation.review import Review, read_review_source
from audiocnn.report.review_page import PIECE_SECONDS, draw_piece
from audiocnn.report.review_server import ReviewServer

RATE = 8000
JSON = {"Content-Type": "application/json"}


def make_folder(root):
    for k in range(3):
        write(root / "sounds" / f"{k}.wav", sine(500 * (k + 1), 0.5, RATE), RATE)
    (root / "sounds" / "3.wav").write_bytes(b"no sound")
    return root / "sounds"


def make_server(folder):
    review = Review(read_review_source(folder).clips, CorrectionTable(folder.parent / "corrections.csv"))
    return ReviewServer(review, folder, "audiocnn train 'a b' --corrections corrections.csv")


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path)


@pytest.fixture
def server(folder):
    found = make_server(folder)
    yield found
    found.close()


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """A server to which nothing is said that it takes."""
    found = make_server(make_folder(tmp_path_factory.mktemp("steady")))
    yield found
    found.close()
    assert not found.review.table.path.exists()


def ask(server, path, values=None, method=None, headers=(), raw=None, token=True):
    """(status, headers, body) of a path behind the token, as JSON where it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    body = raw if raw is not None else None if values is None else json.dumps(values).encode()
    place = f"/{server.token}/{path}" if token else path
    sent = (dict(JSON) if body is not None else {}) | dict(headers)
    connection.request(method or ("GET" if body is None else "POST"), place, body, sent)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.headers.get("Content-Type") == "application/json":
        content = json.loads(content)
    return response.status, response.headers, content


def test_the_page_has_a_policy_and_asks_nobody_else(steady):
    status, headers, page = ask(steady, "")
    text = page.decode()
    assert status == 200 and headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"] and headers["X-Frame-Options"] == "DENY"
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    assert not re.search(r"https?://", text) and steady.token not in text
    assert "audiocnn train &#x27;a b&#x27; --corrections" in text


@pytest.mark.parametrize("path", ["", "next?page=a", "clip/0", "sound/0/0", "picture/0/0", "answer", "undo"])
@pytest.mark.parametrize(
    "token", ["", "wrong", "{half}", "{upper}", "{token}x", "%00", "%C3%A9", "../{token}", "{token}%2F"]
)
def test_without_the_token_nothing_is_given(steady, path, token):
    own = token.format(half=steady.token[:16], upper=steady.token.swapcase(), token=steady.token)
    for values in (None, {"page": "a", "index": 0, "label": "x", "revision": 0}):
        status, _, said = ask(steady, f"/{own}/{path}", values, token=False)
        assert status == 403 and set(said) == {"error"}
        assert steady.token not in str(said)
    assert not steady.review.table.path.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_other_pages_of_the_browser_are_refused(steady, headers):
    for path, values in (("clip/0", None), ("sound/0/0", None), ("answer", {"page": "a", "index": 0, "label": "x"})):
        assert ask(steady, path, values, headers=headers)[0] == 403
    assert not steady.review.table.path.exists()


def test_bytes_that_are_no_address_are_refused(steady):
    for path in (b"/\xe9\xff/", b"/\xc3\xa9/clip/0", b"//", b"/" + b"a" * 70_000):
        with socket.create_connection(("127.0.0.1", steady.port), timeout=20) as one:
            one.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % steady.port)
            assert one.recv(20).split()[1] in (b"403", b"414")


def test_its_own_page_is_not(server):
    own = {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin"}
    assert ask(server, "answer", {"page": "a", "index": 0, "label": "x", "revision": 0}, headers=own)[0] == 200
    assert ask(server, "", headers={"Sec-Fetch-Site": "cross-site"})[0] == 200  # a link in a terminal of a browser
    assert ask(server, "clip/0", headers={"Host": f"localhost:{server.port}"})[0] == 200


def test_the_address_for_the_browser_works_once(server):
    path = "/" + server.single_use_address.split("/", 3)[3]
    assert server.token not in path
    status, headers, _ = ask(server, path, token=False)
    assert (status, headers["Location"]) == (303, f"/{server.token}/")
    assert ask(server, path, token=False)[0] == 403
    assert ask(server, f"/{server.token}", token=False)[1]["Location"] == f"/{server.token}/"


@pytest.mark.parametrize(
    "path",
    [
        "../corrections.csv",
        "sound/../0",
        "sound/0/../../../corrections.csv",
        "sound/%2e%2e/0",
        "sound/0.wav/0",
        "sound//etc/passwd",
        "sound/-1/0",
        "sound/4/0",
        "sound/99999999999/0",
        "sound/%D9%A3/0",
        "sound/0",
        "sound/0/0/0",
        "clip",
        "clip/x",
        "corrections.csv",
        "nothing",
        "answer",
        "0.wav",
    ],
)
def test_a_path_leads_to_no_file(steady, path):
    status, _, said = ask(steady, path)
    assert status == 404 and set(said) == {"error"}


def test_a_recording_that_is_linked_out_of_the_folder_later_is_not_read(server, folder, tmp_path):
    (folder / "0.wav").unlink()
    (folder / "0.wav").symlink_to(write(tmp_path / "secret.wav", sine(500, 0.5, RATE), RATE))
    for path in ("sound/0/0", "picture/0/0"):
        status, _, said = ask(server, path)
        assert status == 422 and "outside" in said["error"] and str(tmp_path) not in said["error"]


def test_a_recording_that_cannot_be_decoded_is_said_and_the_rest_is_done(server, folder):
    status, _, said = ask(server, "clip/3")
    assert status == 200 and "audio format" in said["clip"]["problem"] and str(folder) not in str(said)
    for path in ("sound/3/0", "picture/3/0"):
        status, _, said = ask(server, path)
        assert status == 422 and "audio format" in said["error"] and str(folder) not in said["error"]
    assert ask(server, "answer", {"page": "a", "index": 3, "label": None, "revision": 0})[0] == 200
    assert CorrectionTable(server.review.table.path).rows == {"3.wav": None}


def test_the_sound_is_that_of_the_recording(steady):
    status, headers, content = ask(steady, "sound/1/0")
    samples, rate = soundfile.read(io.BytesIO(content))
    assert (status, headers["Content-Type"], rate) == (200, "audio/wav", RATE)
    assert samples == pytest.approx(sine(1000, 0.5, RATE), abs=1e-4)
    assert ask(steady, "sound/1/7")[0] == 422  # behind its end


def test_the_picture_has_a_line_where_the_tone_is(steady):
    picture = np.asarray(Image.open(io.BytesIO(ask(steady, "picture/1/0")[2]))).astype(float)
    low, high = (np.asarray(Image.open(io.BytesIO(ask(steady, f"picture/{k}/0")[2]))) for k in (0, 2))
    rows = [int(one.mean(axis=1).argmax()) for one in (low, picture, high)]
    assert rows[0] > rows[1] > rows[2], "higher tones stand higher"
    assert picture.max() == 255 and picture.shape[1] >= 200


def test_silence_is_dark():
    assert np.asarray(Image.open(io.BytesIO(draw_piece(np.zeros(RATE, np.float32), RATE)))).max() < 140


def test_long_recordings_come_in_pieces(tmp_path):
    samples = np.concatenate([np.zeros(round(PIECE_SECONDS * RATE)), sine(500, 1.0, RATE)])
    write(tmp_path / "long.flac", samples, RATE)
    review = Review(read_review_source(tmp_path / "long.flac").clips, CorrectionTable(tmp_path / "t.csv", timed=True))
    server = ReviewServer(review, tmp_path, "")
    try:
        first, second = (soundfile.read(io.BytesIO(ask(server, f"sound/0/{k}")[2]))[0] for k in (0, 1))
        assert len(first) == PIECE_SECONDS * RATE and np.abs(first).max() < 1e-3
        assert second == pytest.approx(sine(500, 1.0, RATE), abs=1e-3)
        segments = [[1.0, 2.0, "<script>"], [30.5, 31.0, "dog"]]
        status, _, said = ask(server, "mark", {"page": "a", "index": 0, "segments": segments, "revision": 0})
        assert status == 200 and said["clip"]["segments"] == segments and said["clip"]["seconds"] == 31.0
    finally:
        server.close()


def test_answers_undo_and_conflicts(server):
    status, _, said = ask(server, "next?page=a")
    clip = said["clip"]
    wanted = {"page": "a", "index": clip["index"], "label": "</script><b>", "revision": clip["revision"]}
    status, _, said = ask(server, "answer", wanted)
    assert status == 200 and said["summary"]["labels"] == [{"name": "</script><b>", "key": "1", "count": 1}]
    assert server.review.table.rows == {clip["name"]: Correction(("</script><b>",))}
    assert ask(server, "answer", wanted | {"page": "b", "label": "cat"})[0] == 409
    assert ask(server, "undo", {"page": "b"})[2]["clip"] is None
    assert ask(server, "undo", {"page": "a"})[2]["clip"]["index"] == clip["index"]
    assert server.review.table.rows == {}
    assert ask(server, "skip", {"page": "a", "index": clip["index"]})[0] == 200
    assert ask(server, "next?page=a")[2]["clip"]["index"] != clip["index"]
    assert ask(server, "label", {"name": " new "})[2]["label"] == "new"


def test_no_text_ends_the_page_or_begins_another(server):
    ask(server, "label", {"name": "</script><script>alert(1)</script>"})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", f"/{server.token}/clip/0")
    content = connection.getresponse().read()
    assert b"<" not in content and b"alert(1)" in content


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("answer", {"page": "a", "index": 9, "label": "x", "revision": 0}, 404),
        ("answer", {"page": "a", "index": True, "label": "x", "revision": 0}, 404),
        ("answer", {"page": "a", "index": "../0", "label": "x", "revision": 0}, 404),
        ("answer", {"page": "a", "index": 0, "label": 3, "revision": 0}, 400),
        ("answer", {"page": "a", "index": 0, "label": "-", "revision": 0}, 422),
        ("answer", {"page": "a", "index": 0, "label": "\udc80", "revision": 0}, 422),
        ("answer", {"page": "a", "index": 0, "label": "x" * 1000, "revision": 0}, 422),
        ("answer", {"page": "a", "index": 0, "label": "x"}, 400),
        ("answer", {"index": 0, "label": "x", "revision": 0}, 400),
        ("answer", {"page": "a" * 100, "index": 0, "label": "x", "revision": 0}, 400),
        ("answer", [], 400),
        ("answer", b"{", 400),
        ("answer", b"[" * 100_000, 400),
        ("mark", {"page": "a", "index": 0, "segments": [[0, 1]], "revision": 0}, 400),
        ("mark", {"page": "a", "index": 0, "segments": "x", "revision": 0}, 400),
        ("mark", {"page": "a", "index": 0, "segments": [[0, 10**400, "x"]], "revision": 0}, 400),
        ("mark", {"page": "a", "index": 0, "segments": [[0, 1, "-"]], "revision": 0}, 422),
        ("next", {"page": "a"}, 404),
        ("undo", {}, 400),
        ("label", {"name": None}, 400),
        ("skip", {"page": "a", "index": -1}, 404),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_saved(steady, path, sent, status):
    raw = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    found, _, said = ask(steady, path, raw=raw)
    assert found == status and set(said) == {"error"} and "\n" not in said["error"]
    assert not steady.review.table.path.exists()
    assert ask(steady, "clip/0")[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Length": "99999999999"}, 413),
        ({"Content-Length": "-1"}, 411),
    ],
)
def test_forms_and_floods_are_refused(steady, headers, status):
    assert ask(steady, "answer", raw=b"{}", headers=headers)[0] == status
    assert ask(steady, "clip/0")[0] == 200


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_else_can_be_done(steady, method):
    assert ask(steady, "clip/0", method=method)[0] == 501


def test_a_failed_save_is_said_and_can_be_tried_again(server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    wanted = {"page": "a", "index": 0, "label": "dog", "revision": 0}
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        status, _, said = ask(server, "answer", wanted)
        assert status == 422 and "No space left" in said["error"]
    assert ask(server, "clip/0")[2]["clip"]["said"] is False
    assert ask(server, "answer", wanted)[0] == 200
    assert server.review.table.rows == {"0.wav": Correction(("dog",))}


def test_a_port_that_is_taken(server, folder):
    with pytest.raises(UsageError, match=f"--port {server.port}"):
        ReviewServer(server.review, folder, "", server.port)


def test_it_listens_on_this_machine_alone(steady):
    assert steady.address.startswith("http://127.0.0.1:")
    assert steady._http.socket.getsockname()[0] == "127.0.0.1"
    assert len(steady.token) >= 32
