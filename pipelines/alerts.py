"""Telling people: an alert goes to each address once, and again only after a while.

apprise knows the services (https://github.com/caronc/apprise); two kinds of address are read
here. ``https://`` takes the alert as one JSON document, and ``slack+https://`` is any webhook
that takes Slack's shape, Slack's own among them.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pipelines.windows import Windows

TIMEOUT_SECONDS = 10
"""How long a service may take to take an alert."""

_JSON = ("http", "https")
_SLACK = "slack+"
_WITH_HOST = (*_JSON, *(_SLACK + scheme for scheme in _JSON), "mailto", "mailtos")


@dataclass(frozen=True)
class Sent:
    """What became of one alert at one address.

    Parameters
    ----------
    address : str
        Its scheme, and its host where that is one: many services of apprise have their token
        there. The rest may hold a secret.
    status : str
        ``sent``, ``repeated`` (and so not sent again), or ``failed``.
    reason : str
        Why it failed.
    """

    address: str
    status: str
    reason: str = ""


def send(
    store: Windows,
    *,
    urls: Sequence[str],
    title: str,
    text: str,
    link: str | None,
    key: str,
    payload: Mapping[str, Any],
    repeat_hours: float,
) -> list[Sent]:
    """Send an alert to each address that was not sent the same one a while ago.

    Never raises for a service that is away or an address that is none: monitoring goes on, and
    the next run tries again, since only what was sent is remembered.

    Parameters
    ----------
    store : Windows
        Remembers what was sent.
    urls : sequence of str
    title, text : str
    link : str or None
        Where to look.
    key : str
        What makes two alerts the same one.
    payload : mapping
        JSON-able; the document of a generic webhook, with the title, text and link.
    repeat_hours : float
    """
    told = []
    now = datetime.now(UTC)
    for url in urls:
        name = hashlib.sha256(f"{url}\n{key}".encode()).hexdigest()
        last = store.last_alert(name)
        if last is not None and timedelta(0) <= now - last < timedelta(hours=repeat_hours):
            told.append(Sent(_shown(url), "repeated"))
            continue
        reason = _deliver(url, title, text, link, payload)
        if not reason:
            store.remember_alert(name, now)
        told.append(Sent(_shown(url), "failed" if reason else "sent", reason))
    return told


def _deliver(url: str, title: str, text: str, link: str | None, payload: Mapping[str, Any]) -> str:
    """Send one alert; return why that failed, or nothing."""
    try:
        scheme = urlsplit(url).scheme
        if scheme in _JSON:
            document = {"title": title, "text": text, "link": link, **payload}
            return _post(url, document)
        below = f"{text}\n{link}" if link else text
        if scheme.startswith(_SLACK):
            return _post(url.removeprefix(_SLACK), {"text": f"*{title}*\n{below}"})
        return _apprise(url, title, below)
    except Exception as err:
        # The message may quote the address, and that a secret.
        return type(err).__name__


def _post(url: str, document: Mapping[str, Any]) -> str:
    import httpx

    answer = httpx.post(
        url,
        content=json.dumps(document, default=str),
        headers={"content-type": "application/json"},
        timeout=TIMEOUT_SECONDS,
    )
    return "" if answer.is_success else f"it answered {answer.status_code}"


def _apprise(url: str, title: str, text: str) -> str:
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    sender = apprise.Apprise()
    if not sender.add(url):
        return "no address that apprise knows"
    return "" if sender.notify(title=title, body=text) else "apprise could not deliver it"


def _shown(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    host = parts.hostname if parts.scheme in _WITH_HOST else None
    return f"{parts.scheme}://{host or '***'}"
