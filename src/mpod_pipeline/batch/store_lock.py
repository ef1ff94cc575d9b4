"""One run at a time in a workspace that lies in a store, from whichever machine."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple
from uuid import uuid4

from pydantic import ValidationError

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.stores import Options, make_folder, open_store, told
from mpod_pipeline.batch.lock import Holder, this_process
from mpod_pipeline.batch.records import now

logger = logging.getLogger(__name__)

LOCK = ".mpod_lock.json"
PROBE = ".mpod_probe"
#: A run renews its lock so often, and one that was not renewed for so long was left behind by a dead machine.
RENEWED_EVERY_S = 60.0
DEAD_AFTER_S = 600.0


class LostLockError(SetupError):
    """The lock is not this run's any more."""


class StoreHolder(Holder):
    """copy_id: of the folder in which the run works; it says which machine is meant, and names do not."""

    copy_id: str
    since: str


class _Found(NamedTuple):
    content: bytes
    renewed: datetime

    @property
    def holder(self) -> StoreHolder | None:
        try:
            return StoreHolder.model_validate_json(self.content)
        except ValidationError:
            return None


class StoreLock:
    """A file in the store that says who holds it. A store takes nothing back when a holder dies, so it is renewed.

    The file is created only where there is none, which S3, Google and Azure do in one step; then it is read again.
    copy_id: of the folder in which this run works, and in which no other works now.
    """

    def __init__(self, address: str, options: Options, copy_id: str) -> None:
        self._address = address
        self._options = options
        self._copy_id = copy_id
        self._own = b""
        self._lost = False
        self._over = Event()
        self._renewing: Thread | None = None

    def acquire(self, run_id: str) -> None:
        """Raise SetupError where the store cannot be reached or written, or another run has the lock."""
        holder = StoreHolder(**this_process(run_id).model_dump(), copy_id=self._copy_id, since=now())
        own = holder.model_dump_json().encode()
        with told(self._address):
            store, root = open_store(self._address, self._options)
            make_folder(store, self._address, root)
            time = self._clock()
            if found := self._found():
                self._require_dead(found, time)
                store.rm_file(f"{root}/{LOCK}")
            with suppress(FileExistsError):
                store.pipe_file(f"{root}/{LOCK}", own, mode="create")
            held = self._found()
            if held is None or held.content != own:
                raise SetupError(self._who(held))
        self._own, self._lost = own, False
        self._over.clear()
        self._renewing = Thread(target=self._renew, daemon=True)
        self._renewing.start()

    def require(self) -> None:
        """Raise LostLockError where the lock was taken away. Raises SetupError where the store cannot be reached."""
        if not self._lost:
            with told(self._address):
                self._look()
        if self._lost:
            raise LostLockError(
                f"This run has no lock on {self._address} any more: it was not renewed for {DEAD_AFTER_S / 60:g} "
                "minutes and another run took it, or somebody removed it. What was not sent is in this machine's copy."
            )

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if not self._own:
            return
        self._over.set()
        if self._renewing:
            self._renewing.join()
        try:
            with told(self._address):
                self._look()
                store, root = open_store(self._address, self._options)
                if not self._lost:
                    store.rm_file(f"{root}/{LOCK}")
        except SetupError as error:
            logger.warning("The lock %s/%s stays behind: %s", self._address, LOCK, error)
        self._own = b""

    def _renew(self) -> None:
        while not self._over.wait(RENEWED_EVERY_S) and not self._lost:
            with suppress(Exception):  # each store has errors of its own; the next time may do
                self._look()
                store, root = open_store(self._address, self._options)
                if not self._lost:
                    store.pipe_file(f"{root}/{LOCK}", self._own)

    def _look(self) -> None:
        found = self._found()
        self._lost = found is None or found.content != self._own

    def _found(self) -> _Found | None:
        return _found(self._address, self._options)

    def _clock(self) -> datetime:
        """The store's own time, for machines differ. It also shows that the store can be written."""
        store, root = open_store(self._address, self._options)
        probe = f"{root}/{PROBE}-{uuid4().hex}"
        store.pipe_file(probe, b"now")
        time: datetime = store.modified(probe)
        store.rm_file(probe)
        return time

    def _require_dead(self, found: _Found, time: datetime) -> None:
        holder = found.holder
        silent = (time - found.renewed).total_seconds() > DEAD_AFTER_S
        if silent or (holder and holder.copy_id == self._copy_id):
            logger.warning("The lock that a dead run left behind is taken (%s).", holder or "it does not say which")
            return
        raise SetupError(self._who(found))

    def _who(self, found: _Found | None) -> str:
        holder = found.holder if found else None
        who = f"{holder}, since {holder.since}" if holder else "it does not say which"
        return (
            f"Another run is at work in {self._address} ({who}); wait for it to end, or choose another workspace by "
            f"--params=workspace=FOLDER. If its machine is dead, its lock counts no more {DEAD_AFTER_S / 60:g} minutes "
            f"after that; or remove {self._address}/{LOCK} now."
        )


def who_holds_in_store(address: str, options: Options) -> Holder | None:
    """The run that has the lock, or had it when its machine died."""
    with told(address):
        found = _found(address, options)
    return found.holder if found else None


def _found(address: str, options: Options) -> _Found | None:
    store, root = open_store(address, options)
    try:
        content, renewed = store.cat_file(f"{root}/{LOCK}"), store.modified(f"{root}/{LOCK}")
    except FileNotFoundError:
        return None
    return _Found(content, renewed)


def copy_id_of(folder: Path) -> str:
    """The copy's own number, made once."""
    file = folder / ".mpod_copy"
    if not file.is_file():
        file.write_text(uuid4().hex)
    return file.read_text()
