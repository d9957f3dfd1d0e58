"""The dead man's switch: a URL is asked for as long as alerting makes progress.

What watches that URL tells people when it is not asked for any more: an engine that hangs, or a host that is off,
cannot do that itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from zkalert import __version__, clock
from zkalert.senders.reasons import scrub

log = logging.getLogger("zkalert.heartbeat")

TIMEOUT = 10.0
SOON = 10.0
"""Seconds at most until another try after one that failed."""
LOOK = 1.0
"""Seconds at most until another look whether there is progress again."""


class Heartbeat:
    """Asks for `url` every `every` seconds while `is_progressing` says so; never raises, and says once what fails."""

    def __init__(self, url: str, every: float, is_progressing: Callable[[], bool]) -> None:
        self._url = url
        self._every = every
        self._is_progressing = is_progressing
        self._stop = threading.Event()
        self._trouble = ""
        self._has_beaten = False  # who never beat is missed by nobody: it starts, or stands by
        self._thread = threading.Thread(target=self._run, name="zkalert-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No further request; one that is on its way is not waited for."""
        self._stop.set()

    def _run(self) -> None:
        pause = 0.0
        while not clock.wait(self._stop, pause):
            began = clock.monotonic()
            pause = max(0.0, self._turn() - (clock.monotonic() - began))

    def _turn(self) -> float:
        """One beat, where it is due; how many seconds from its begin the next one is."""
        if not self._is_progressing():
            if self._has_beaten:
                self._say("evaluation or delivery makes no progress")
            return min(self._every, LOOK)
        trouble = _ask(self._url)
        self._has_beaten = self._has_beaten or not trouble
        self._say(trouble)
        return min(self._every, SOON) if trouble else self._every

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.warning("no heartbeat: %s", trouble)
        elif self._trouble and not trouble:
            log.warning("the heartbeat is back")
        self._trouble = trouble


def _ask(url: str) -> str:
    """What went wrong, in words without the URL; empty where nothing did."""
    from urllib.error import HTTPError  # noqa: PLC0415 - few engines have a heartbeat
    from urllib.request import Request, urlopen  # noqa: PLC0415 - as above

    request = Request(url, headers={"User-Agent": f"zkalert/{__version__}"})  # noqa: S310 - the configuration allows http and https alone
    try:
        with urlopen(request, timeout=TIMEOUT):  # noqa: S310 - as above
            return ""
    except HTTPError as error:
        with error:
            return f"the URL answered with HTTP {error.code}"
    except TimeoutError:
        return f"the URL did not answer in {TIMEOUT:g} s"
    except Exception as error:  # noqa: BLE001 - whatever the network and its libraries think of, alerting goes on
        return f"the URL could not be asked for: {scrub(str(error), url) or type(error).__name__}"
