"""pipelines.alerts: told once, to real receivers; a service that is away stops nothing."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipelines.alerts import Sent, send
from pipelines.windows import Windows


class Receiver:
    """A webhook that keeps what it is sent, and answers as it is told to."""

    def __init__(self) -> None:
        self.documents: list[Any] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.documents.append(json.loads(body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address, with a secret in it."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook/s3cret"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook that listens."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Windows]:
    """What remembers the alerts."""
    with Windows.open(f"sqlite:///{tmp_path / 'predictions.db'}") as opened:
        yield opened


def tell(store: Windows, *urls: str, key: str = "k", hours: float = 24.0) -> list[Sent]:
    """Send one alert."""
    return send(
        store,
        urls=urls,
        title="flights version 3: retrain",
        text="Confirmed loss.",
        link="http://pages/run",
        key=key,
        payload={"findings": ["recall[late]"]},
        repeat_hours=hours,
    )


def test_a_webhook_gets_one_document(store: Windows, receiver: Receiver) -> None:
    """A generic webhook gets title, text, link and the machine's part; no secret is shown."""
    assert tell(store, receiver.url) == [Sent("http://127.0.0.1", "sent")]
    assert receiver.documents == [
        {
            "title": "flights version 3: retrain",
            "text": "Confirmed loss.",
            "link": "http://pages/run",
            "findings": ["recall[late]"],
        }
    ]


def test_slacks_shape(store: Windows, receiver: Receiver) -> None:
    """A webhook of Slack's shape gets one text, with the link in it."""
    assert tell(store, f"slack+{receiver.url}")[0].status == "sent"
    said = "*flights version 3: retrain*\nConfirmed loss.\nhttp://pages/run"
    assert receiver.documents == [{"text": said}]


def test_the_same_alert_is_sent_once(store: Windows, receiver: Receiver) -> None:
    """The same alert is not sent again for a while; another one, and another address, is."""
    tell(store, receiver.url)
    assert [sent.status for sent in tell(store, receiver.url, f"slack+{receiver.url}")] == [
        "repeated",
        "sent",
    ]
    assert tell(store, receiver.url, key="other")[0].status == "sent"
    assert tell(store, receiver.url, hours=0)[0].status == "sent"
    assert len(receiver.documents) == 4


def test_what_was_not_taken_is_tried_again(store: Windows, receiver: Receiver) -> None:
    """A receiver that refuses, is away or is no address fails by itself and is asked again."""
    receiver.status = 500
    assert tell(store, receiver.url, "http://127.0.0.1:9/x", "nonsense://?", "plain") == [
        Sent("http://127.0.0.1", "failed", "it answered 500"),
        Sent("http://127.0.0.1", "failed", "ConnectError"),
        Sent("nonsense://***", "failed", "no address that apprise knows"),
        Sent("://***", "failed", "no address that apprise knows"),
    ]
    receiver.status = 204
    assert tell(store, receiver.url)[0].status == "sent"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("pover://user@t0ken", "pover://***"),
        ("tgram://123456789:t0ken/chat", "tgram://***"),
        ("slack://t0ken/t0ken/t0ken", "slack://***"),
        ("https://[t0ken", "***"),
    ],
)
def test_a_token_in_the_place_of_a_host_is_not_shown(
    store: Windows, monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    """An address is shown without what its service reads as a token, also one that is none."""
    monkeypatch.setattr("pipelines.alerts._apprise", lambda *_: "no network in a test")
    (sent,) = tell(store, url)
    assert (sent.address, sent.status) == (shown, "failed")
    assert "t0ken" not in sent.reason


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as a sender needs."""

    def handle(self) -> None:
        """Take one letter."""
        self.wfile.write(b"220 here\r\n")
        letter: list[bytes] = []
        while line := self.rfile.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline()) != b".\r\n":
                    letter.append(line)
                self.server.letters.append(b"".join(letter).decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")


def test_a_letter(store: Windows) -> None:
    """An alert goes out by e-mail, through a real SMTP connection."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.letters = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        url = f"mailto://127.0.0.1:{port}/team@example.org?from=gate@example.org&smtp=127.0.0.1"
        assert tell(store, url) == [Sent("mailto://127.0.0.1", "sent")]
        server.shutdown()
        (letter,) = server.letters  # type: ignore[attr-defined]
    assert "flights version 3: retrain" in letter
    assert "team@example.org" in letter
