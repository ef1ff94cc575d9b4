"""How the folders of a run are named: photos, workspace, priors, models."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.stores import copy_of, is_address

#: The settings that name folders.
PLACES = ("photos", "workspace", "priors", "models")
#: Those that may lie in a store, and where their copies are kept.
COPIED = {"photos": "", "workspace": "workspaces"}


def optional_folder(name: str, place: object) -> str | None:
    """The resolver ``${optional_folder:NAME,PLACE}``: as `folder`, or null where the settings name none."""
    return None if place is None else folder(name, place)


def folder(name: str, place: object) -> str:
    """The resolver ``${folder:NAME,PLACE}``: a folder as the settings name it, with ``~`` for the home folder. Photos
    and a workspace in a store have copies on this machine, which a run brings up to date.

    Raises SetupError where it is no text, an address, a path of Windows, or a workspace with braces: Kedro's catalog
    sees a pattern in them.
    """
    how = f"set it by --params={name}=FOLDER, or in globals.yml"
    if not isinstance(place, str) or not place.strip():
        raise SetupError(f"The setting {name} is {place!r}, which names no folder: {how}, a number in quotes.")
    if name in COPIED and is_address(place):
        return str(copy_of(place, COPIED[name]))
    if "://" in place:
        raise SetupError(f"The setting {name} is {place}, an address, and addresses are not read: {how}.")
    if (windows := PureWindowsPath(place)).drive:
        within = windows.relative_to(windows.anchor).as_posix()
        raise SetupError(
            f"The setting {name} is {place}, a path of Windows. Under WSL the folder is "
            f"/mnt/{windows.drive.rstrip(':').lower()}/{within}: {how}."
        )
    if name == "workspace" and {"{", "}"} & set(place):
        raise SetupError(f"The setting {name} is {place}, and braces cannot be part of it: {how}.")
    try:
        return str(Path(place).expanduser())
    except RuntimeError as error:
        raise SetupError(f"The setting {name} is {place}, and nobody's home folder is known by that: {how}.") from error
