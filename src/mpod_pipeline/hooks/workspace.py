"""A workspace that lies in a store: locked there, worked on in a copy on this machine, and sent back as it grows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from kedro.config import AbstractConfigLoader, MissingConfigException

from mpod_pipeline.base.atomic import whole_file
from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.folders import folder
from mpod_pipeline.base.mirror import Mirror
from mpod_pipeline.base.stores import Options, is_address
from mpod_pipeline.base.text import number_of
from mpod_pipeline.batch.lock import Holder, WorkspaceLock, who_holds
from mpod_pipeline.batch.store_lock import LostLockError, StoreLock, copy_id_of, who_holds_in_store
from mpod_pipeline.publish.decisions import merged

logger = logging.getLogger(__name__)

#: The entry of Kedro's ``credentials.yml`` that has the store's options. Without it the store's own places count, such
#: as AWS's environment variables.
CREDENTIALS = "store"
#: During a step the copy is sent so often; each send looks at all files.
SENT_EVERY_S = 300.0
#: In the copy's folder: held by the run of this machine that works in it.
LOCK = ".lock"
#: They are written while a run is at work, on any machine, so they are sent by themselves.
DECISIONS = "decisions.csv"


def options(loader: AbstractConfigLoader) -> Options:
    """How the store is opened."""
    try:
        return loader["credentials"].get(CREDENTIALS) or {}
    except MissingConfigException:
        return {}


def stored_workspace(loader: AbstractConfigLoader) -> StoredWorkspace | None:
    """The settings' workspace where it lies in a store; None where it is a folder."""
    address = loader["parameters"]["workspace"]
    return StoredWorkspace(address, options(loader)) if is_address(address) else None


class StoredWorkspace:
    """A workspace in a store, and its copy here. Its records vouch for the artifacts, and are sent after them."""

    def __init__(self, address: str, options: Options) -> None:
        self.address = address
        self._options = options
        self._mirror = Mirror(address, Path(folder("workspace", address)), options, late=_is_record, apart=(DECISIONS,))
        self.copy = self._mirror.folder
        self._held = ExitStack()
        self._lock: StoreLock | None = None
        self._sent_at = 0.0

    def open(self, run_id: str) -> None:
        """Lock the workspace, and bring the copy up to date.

        Raises SetupError where another run has it, or the store cannot be reached or written.
        """
        with ExitStack() as held:
            here = WorkspaceLock(self.copy / LOCK)
            here.acquire(run_id)
            held.callback(here.release)
            lock = StoreLock(self.address, self._options, copy_id_of(self.copy))
            lock.acquire(run_id)
            held.callback(lock.release)
            came = self._mirror.bring()
            self.share_decisions()
            logger.info("%s of %s came into its copy %s", number_of(came, "file"), self.address, self.copy)
            self._lock, self._held, self._sent_at = lock, held.pop_all(), time.monotonic()

    def send(self) -> None:
        """Send what has changed. Raises LostLockError where the workspace is another run's now, and SetupError where
        the store cannot be reached.
        """
        if self._lock:
            self._lock.require()
            went = self._mirror.send()
            self._sent_at = time.monotonic()
            logger.info("%s went to %s", number_of(went, "file"), self.address)

    def send_while_at_work(self, now: bool) -> None:
        """Likewise, but a store that does not answer is tried again later. now: even if it was sent just before."""
        if not now and time.monotonic() - self._sent_at < SENT_EVERY_S:
            return
        try:
            self.send()
        except LostLockError:
            raise
        except SetupError as error:
            self._sent_at = time.monotonic()
            logger.warning("The run goes on, and sends later. %s", error)

    def close(self) -> None:
        """Give the locks back."""
        self._lock = None
        self._held.close()

    def look(self, only: tuple[str, ...] = ()) -> Holder | None:
        """Bring the copy up to date for who only looks, unless a run of this machine works in it; who is at work."""
        if run := who_holds(self.copy / LOCK):
            return run
        self._mirror.bring(only)
        return who_holds_in_store(self.address, self._options)

    def share_decisions(self) -> None:
        """Let the store and the copy have each other's."""
        with self._mirror.in_turn():
            self._share_decisions()

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Within it, a decision is written down in the copy; then it is sent."""
        with self._mirror.in_turn():
            yield
            try:
                self._share_decisions()
            except SetupError as error:
                raise SetupError(f"It is written down here, and goes with the next decision. {error}") from error

    def _share_decisions(self) -> None:
        file = self.copy / DECISIONS
        here = file.read_text(encoding="utf-8-sig") if file.is_file() else ""
        there = self._mirror.read(DECISIONS).decode("utf-8-sig")
        both = merged(there, here, f"{self.address}/{DECISIONS}")
        if both != here:
            with whole_file(file) as path:
                path.write_text(both, encoding="utf-8")
        if both != there:
            self._mirror.write(DECISIONS, both.encode())


def _is_record(name: str) -> bool:
    return "records" in PurePosixPath(name).parts
