"""The server of a review: one page on 127.0.0.1, which can be opened only with the token in its address.

Recordings are requested by their number in the review, never by a path. Files that were moved or linked out of the
folder are not read. Requests from other pages of a browser are refused, by the names of host and origin.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from audiocnn.audio.pcm import Samples
from audiocnn.data.decode import reason_without_name
from audiocnn.errors import AudiocnnError, RecordingError, UsageError
from audiocnn.evaluation.review import ConflictError, Review
from audiocnn.files import parse_json
from audiocnn.report.page import to_json
from audiocnn.report.review_page import PIECE_SECONDS, draw_piece, render_review
from audiocnn.report.sound import read_piece, to_wav
from audiocnn.segments.segment import Annotation
from audiocnn.toml import is_number

HOST = "127.0.0.1"
_MOST_BODY_BYTES = 8 << 20
_PIECES_KEPT = 8
_READY_SECONDS = 3.0  # for which the first clip waits for others to be analysed
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
_Answer = tuple[bytes, str]  # content, MIME type


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class ReviewServer:
    """Serves a review from its creation until `close`. folder: files outside it are not served. command: trains with
    the table. port 0: any free port. UsageError if the port is not available."""

    def __init__(self, review: Review, folder: Path, command: str, port: int = 0) -> None:
        self.review, self.folder = review, folder.resolve()
        self.token, self._once = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.page = render_review(folder.resolve().name or str(folder), command, review.table.timed)
        self._pieces: OrderedDict[tuple[int, int], tuple[Samples, int]] = OrderedDict()
        self._lock, self._stop = Lock(), Event()
        try:
            self._http = _HttpServer((HOST, port), _Handler)
        except (OSError, OverflowError) as problem:
            raise UsageError(f"--port {port}: not available ({problem}); omit it to use any free port") from None
        self._http.review = self
        self.port: int = self._http.server_address[1]
        self._threads = [
            Thread(target=self._http.serve_forever, args=(0.1,), daemon=True),
            Thread(target=review.prepare, args=(self._stop,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/{self.token}/"

    @property
    def single_use_address(self) -> str:
        """An address for the command that starts a browser, because other users of the machine may see its arguments.
        It redirects once to the other address."""
        return f"http://{HOST}:{self.port}/{self._once}/"

    def close(self) -> None:
        """Stop, after an answer that is being saved."""
        self._stop.set()
        self._http.shutdown()
        self._http.server_close()

    def is_single_use(self, token: str) -> bool:
        """Whether a token is the single-use token, which is then no longer valid."""
        with self._lock:
            fits = bool(self._once) and _is_same(token, self._once)
            self._once = "" if fits else self._once
            return fits

    def piece(self, index: int, number: int) -> tuple[Samples, int]:
        """The samples (n,) of a piece of a recording, and their sample rate. RecordingError."""
        with self._lock:
            if (index, number) in self._pieces:
                self._pieces.move_to_end((index, number))
                return self._pieces[index, number]
        path = self.review.clips[index].path
        if not path.resolve().is_relative_to(self.folder):
            raise RecordingError("is now outside the folder, and was not read")
        try:
            found = read_piece(path, number * PIECE_SECONDS, PIECE_SECONDS)
        except RecordingError as problem:
            raise RecordingError(reason_without_name(problem, path)) from None
        with self._lock:
            self._pieces[index, number] = found
            while len(self._pieces) > _PIECES_KEPT:
                self._pieces.popitem(last=False)
        return found


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    review: ReviewServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is not an error, and other problems are reported to the page."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "audiocnn", ""
    timeout = 30  # seconds, for a connection without data
    server: _HttpServer

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing, because addresses contain the token."""

    def do_GET(self) -> None:
        self._serve(_READERS)

    def do_POST(self) -> None:
        self._serve(_WRITERS)

    def _serve(self, routes: Mapping[str, Callable[[_Handler, list[int], dict[str, Any]], _Answer]]) -> None:
        try:
            words = self._words()
            if words is None:
                return
            name, numbers = words[0], self._numbers(words[1:])
            if name not in routes:
                raise _RefusedError(HTTPStatus.NOT_FOUND, "not found")
            values = self._body() if routes is _WRITERS else self._query()
            self._send(HTTPStatus.OK, *routes[name](self, numbers, values))
        except _RefusedError as refused:
            self.close_connection = True  # the request may not have been read completely
            self._problem(refused.status, str(refused))
        except ConflictError:
            self._problem(HTTPStatus.CONFLICT, "this clip was changed in another window; look at it again")
        except AudiocnnError as problem:
            self._problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(problem))
        except (BrokenPipeError, ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as problem:  # noqa: BLE001 - reported by the page, and the server continues
            self.close_connection = True
            self._problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"internal error: {type(problem).__name__}: {problem}")

    @property
    def review(self) -> Review:
        return self.server.review.review

    def _words(self) -> list[str] | None:
        """The parts of the path after the token. None if the request was answered already."""
        own = {f"{name}:{self.server.review.port}" for name in (HOST, "localhost")}
        if self.headers.get("Host") not in own:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "the request names another host")
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        if origin is not None and origin.removeprefix("http://") not in own:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "the request comes from another page")
        token, slash, rest = urlsplit(self.path).path[1:].partition("/")
        is_ours = _is_same(token, self.server.review.token)
        if self.command == "GET" and not rest and ((is_ours and not slash) or self.server.review.is_single_use(token)):
            self.send_response(HTTPStatus.SEE_OTHER)
            self._end_headers({"Location": f"/{self.server.review.token}/", "Content-Length": "0"})
            return None
        if not is_ours:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "the address has no token; open the address that was printed")
        if site not in ("same-origin", "none") and (self.command != "GET" or rest):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "the request comes from another page")
        return rest.split("/")

    def _numbers(self, words: list[str]) -> list[int]:
        """Parts of a path as whole numbers; the first is that of a clip."""
        if any(not (word.isascii() and word.isdecimal() and len(word) < 10) for word in words):
            raise _RefusedError(HTTPStatus.NOT_FOUND, "not found")
        numbers = list(map(int, words))
        self._check_index(*numbers[:1])
        return numbers

    def _check_index(self, index: Any = 0) -> int:
        if type(index) is not int or not 0 <= index < len(self.review.clips):
            raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such clip")
        return index

    def _query(self) -> dict[str, Any]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def _body(self) -> dict[str, Any]:
        """The request as JSON, which a form on another page cannot send."""
        if self.headers.get_content_type() != "application/json":
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the content type must be JSON")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "the content length is missing")
        if len(length) > 9 or int(length) > _MOST_BODY_BYTES:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too large")
        try:
            values = parse_json(self.rfile.read(int(length)))
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the request must be a JSON object")
        return values

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self._end_headers({"Content-Type": kind, "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _end_headers(self, more: Mapping[str, str]) -> None:
        for name, value in {**_HEADERS, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def _problem(self, status: HTTPStatus, why: str) -> None:
        try:
            self._send(status, *_json({"error": why}))
        except OSError:
            self.close_connection = True


def _json(values: Any) -> _Answer:
    return to_json(values).encode(), "application/json"


def _is_same(token: str, wanted: str) -> bool:
    """Compares in constant time, so that the time does not tell how much is right."""
    return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), wanted.encode())


def _state(handler: _Handler, index: int | None) -> _Answer:
    clip = None if index is None else handler.review.describe(index)
    return _json({"clip": clip, "summary": handler.review.summary()})


def _page_of(values: Mapping[str, Any]) -> str:
    page = values.get("page")
    if not isinstance(page, str) or not 0 < len(page) <= 64:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "the id of the page is missing")
    return page


def _revision_of(values: Mapping[str, Any]) -> int:
    revision = values.get("revision")
    if type(revision) is not int:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "the revision is missing")
    return revision


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "the label must be a string")
    return value


def _get_page(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    return handler.server.review.page.encode("utf-8", "replace"), "text/html; charset=utf-8"


def _get_next(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    handler.review.ready.wait(_READY_SECONDS)
    return _state(handler, handler.review.next(_page_of(values)))


def _get_clip(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    return _state(handler, handler._check_index(numbers[0] if numbers else None))


def _get_sound(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    return to_wav(*_piece(handler, numbers)), "audio/wav"


def _get_picture(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    return draw_piece(*_piece(handler, numbers)), "image/png"


def _piece(handler: _Handler, numbers: list[int]) -> tuple[Samples, int]:
    if len(numbers) != 2:
        raise _RefusedError(HTTPStatus.NOT_FOUND, "not found")
    return handler.server.review.piece(*numbers)


def _post_answer(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    index, label = handler._check_index(values.get("index")), values.get("label")
    handler.review.answer(_page_of(values), index, None if label is None else _text(label), _revision_of(values))
    return _state(handler, index)


def _post_mark(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    index, listed = handler._check_index(values.get("index")), values.get("segments")
    segments = []
    for one in listed if isinstance(listed, list) else [None]:
        if not (isinstance(one, list) and len(one) == 3 and is_number(one[0]) and is_number(one[1])):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the request has no valid segments")
        segments.append(Annotation(float(one[0]), float(one[1]), _text(one[2])))
    handler.review.mark(_page_of(values), index, segments, _revision_of(values))
    return _state(handler, index)


def _post_skip(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    index = handler._check_index(values.get("index"))
    handler.review.skip(_page_of(values), index)
    return _state(handler, index)


def _post_undo(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    return _state(handler, handler.review.undo(_page_of(values)))


def _post_label(handler: _Handler, numbers: list[int], values: dict[str, Any]) -> _Answer:
    return _json({"label": handler.review.add_label(_text(values.get("name"))), "summary": handler.review.summary()})


_Route = Callable[[_Handler, list[int], dict[str, Any]], _Answer]
_READERS: dict[str, _Route] = {
    "": _get_page,
    "next": _get_next,
    "clip": _get_clip,
    "sound": _get_sound,
    "picture": _get_picture,
}
_WRITERS: dict[str, _Route] = {
    "answer": _post_answer,
    "mark": _post_mark,
    "skip": _post_skip,
    "undo": _post_undo,
    "label": _post_label,
}
