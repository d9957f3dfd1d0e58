"""Changes of the ledger for those who may not wait for it, on one thread and in order."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from zkalert import clock
from zkalert.dispatch import pauses
from zkalert.dispatch.values import DeliveryLog
from zkalert.model import OutboxEntry

log = logging.getLogger("zkalert.dispatch")

_MOST_AT_ONCE = 500


@dataclass(slots=True, eq=False)
class _Task:
    """A change of one entry, or any other work at the ledger (`act`)."""

    effect_id: str = ""
    change: Callable[[OutboxEntry], OutboxEntry] | None = None
    act: Callable[[], None] | None = None
    then: Callable[[], None] | None = None
    otherwise: Callable[[], None] | None = None


class Clerk:
    """Does what it is asked for as soon as the ledger can be reached; forgets it where that is not ours any more.

    `not_now` are the exceptions of the ledger that mean "ask again", `not_ours` the one that means "leave it".
    """

    def __init__(self, ledger: DeliveryLog, *, not_now: tuple[type[Exception], ...], not_ours: type[Exception]) -> None:
        self._ledger = ledger
        self._not_now = not_now
        self._not_ours = not_ours
        self._tasks: deque[_Task] = deque()
        self._drops = 0
        self._wake = threading.Condition()
        self._stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="zkalert-ledger", daemon=True)
        self.thread.start()

    def change(
        self,
        effect_id: str,
        change: Callable[[OutboxEntry], OutboxEntry],
        *,
        then: Callable[[], None] | None = None,
        otherwise: Callable[[], None] | None = None,
    ) -> None:
        """Change an entry. `then` is called once that is written, `otherwise` where the ledger is not ours any more;
        neither where there is no such entry.
        """
        self._add(_Task(effect_id, change=change, then=then, otherwise=otherwise))

    def call(self, act: Callable[[], None]) -> None:
        """Do any other work at the ledger; it may be done again from its start."""
        self._add(_Task(act=act))

    def drop(self) -> None:
        """The ledger is not ours any more: forget what was not begun."""
        with self._wake:
            forgotten, self._tasks = self._tasks, deque()
            self._drops += 1
        for task in forgotten:
            if task.otherwise is not None:
                task.otherwise()

    def stop(self) -> None:
        """End the thread, once it has done what it can."""
        with self._wake:
            self._stopped.set()
            self._wake.notify()

    def _add(self, task: _Task) -> None:
        with self._wake:
            self._tasks.append(task)
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._tasks and not self._stopped.is_set():
                    self._wake.wait()
                if not self._tasks:
                    return
                tasks, drops = self._head(), self._drops
            self._work(tasks, drops)

    def _head(self) -> list[_Task]:
        """What can be done together: changes of different entries, or one other piece of work."""
        tasks = [self._tasks.popleft()]
        ids = {tasks[0].effect_id}
        while (
            tasks[0].act is None
            and self._tasks
            and len(tasks) < _MOST_AT_ONCE
            and self._tasks[0].act is None
            and self._tasks[0].effect_id not in ids
        ):
            ids.add(self._tasks[0].effect_id)
            tasks.append(self._tasks.popleft())
        return tasks

    def _work(self, tasks: list[_Task], drops: int) -> None:
        tries = 0
        while True:
            try:
                self._do(tasks)
            except self._not_now as error:
                tries += 1
                if tries == pauses.SAY_AFTER:
                    log.warning("the ledger cannot be written (%s); trying again", type(error).__name__)
                if self._drops == drops and not clock.wait(self._stopped, pauses.NOT_NOW):
                    continue
            except self._not_ours:
                pass
            except Exception:
                # The outermost frame of the thread: an error in one change must not keep all others waiting.
                log.exception("the ledger could not be changed for %s", ", ".join(task.effect_id for task in tasks[:5]))
                return
            else:
                return
            for task in tasks:
                if task.otherwise is not None:
                    task.otherwise()
            return

    def _do(self, tasks: list[_Task]) -> None:
        if tasks[0].act is not None:
            tasks[0].act()
            return
        made = self._ledger.update_all({task.effect_id: task.change for task in tasks if task.change is not None})
        for task in tasks:
            if task.then is not None and task.effect_id in made:
                task.then()
