"""Deliveries made in a thread and tried again until they arrive: whoever posts never waits."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_LONGEST = 10.0  #: seconds between attempts, at most
_TRIES = 3  #: how often what cannot succeed is tried


class Outbox:
    """Names of things to bring up to date; `deliver` brings one there, and raises when it cannot.

    A name that waits already is not posted twice, so a slow receiver gets fewer and larger deliveries. What
    fails goes behind the others and is tried again, at growing intervals. What is `hopeless` (refused, not
    unreachable) is given up after a few tries, so that it never blocks the rest.
    """

    def __init__(
        self,
        deliver: Callable[[str], None],
        *,
        hopeless: Callable[[Exception], bool] = lambda error: False,
        pause: float = 0.5,
    ):
        """`pause`: seconds to gather before delivering."""
        self._deliver, self._hopeless, self._pause = deliver, hopeless, pause
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, int] = OrderedDict()  # name -> tries so far
        self._given_up: dict[str, str] = {}
        self._under_way: list[str] = []  # at most one
        self._posted, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.trouble: str | None = None  #: why the last delivery failed; None while all is well

    def post(self, name: str) -> None:
        """Has `name` delivered, soon."""
        with self._lock:
            self._given_up.pop(name, None)
            self._waiting.setdefault(name, 0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
                self._thread.start()
        self._posted.set()

    def undelivered(self) -> list[str]:
        """Names that wait, are under way or were given up."""
        with self._lock:
            return [*dict.fromkeys([*self._under_way, *self._waiting, *self._given_up])]

    def close(self, patience: float = 20.0) -> list[str]:
        """Delivers what waits, for as long as one arrives every `patience` seconds; returns what did not."""
        self._patience, self._closed_at = patience, time.monotonic()
        self._closing.set()
        self._posted.set()
        while self._thread is not None and self._thread.is_alive():
            count = len(self.undelivered())
            self._thread.join(2 * patience + 5)
            if self._thread.is_alive() and len(self.undelivered()) >= count:
                break  # a receiver that neither answers nor fails
        return self.undelivered()

    def _work(self) -> None:
        failures, arrived = 0, time.monotonic()
        due = 0  # how many of those that wait were there at the last pause: one gathers for all of them
        while True:
            self._posted.wait()
            with self._lock:
                if not self._waiting:
                    self._posted.clear()
                    due = 0
                    if self._closing.is_set():
                        return
                    continue
            if not failures and not due:
                self._closing.wait(self._pause)
            with self._lock:
                due = (due or len(self._waiting)) - 1
                name, tries = self._waiting.popitem(last=False)
                self._under_way = [name]
            try:
                self._deliver(name)
            except Exception as error:  # whatever the receiver's trouble is, the search goes on
                self._failed(name, tries + 1, error)
                failures += 1
                if self._closing.is_set() and time.monotonic() - max(arrived, self._closed_at) > self._patience:
                    return
                self._rest(min(0.25 * 2**failures, _LONGEST))
            else:
                failures, arrived, self.trouble = 0, time.monotonic(), None
                with self._lock:
                    self._under_way = []

    def _failed(self, name: str, tries: int, error: Exception) -> None:
        self.trouble = str(error).partition("\n")[0]
        logging.getLogger(__name__).debug("%s: %s", name, self.trouble)
        hopeless = self._hopeless(error)
        with self._lock:
            self._under_way = []
            if hopeless and tries >= _TRIES and name not in self._waiting:
                self._given_up[name] = self.trouble
            else:
                self._waiting[name] = self._waiting.pop(name, 0) or (tries if hopeless else 0)
        self._posted.set()

    def _rest(self, seconds: float) -> None:
        """Waits; while closing, in short steps."""
        if self._closing.is_set():
            time.sleep(min(seconds, 0.5))
        else:
            self._closing.wait(seconds)
