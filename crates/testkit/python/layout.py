"""The documented layout of the file sink's folder, as a reader sees it."""

import json
import os
from dataclasses import dataclass


@dataclass
class File:
    path: str
    epoch: int
    index: int
    rows: int
    bytes: int


@dataclass
class Manifest:
    epoch: int
    files: list


def manifests(output):
    """Every epoch's record, in the order of epochs. The record is the first line; a second one carries its checksum."""
    folder = os.path.join(output, ".dujiang", "manifests")
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if name.endswith(".manifest"):
            with open(os.path.join(folder, name), encoding="utf-8") as text:
                found.append(manifest(json.loads(text.readline())))
    return sorted(found, key=lambda m: m.epoch)


def manifest(document):
    epoch = document["epoch"]
    files = [
        File(path=f["file"], epoch=epoch, index=index, rows=f["rows"], bytes=f["bytes"])
        for index, f in enumerate(document["files"])
    ]
    return Manifest(epoch=epoch, files=files)


def leftovers(output):
    """What a pipeline at rest must not leave behind: half-written records and staged files."""
    found = []
    for folder in ("manifests", "staged"):
        path = os.path.join(output, ".dujiang", folder)
        names = sorted(os.listdir(path)) if os.path.isdir(path) else []
        found += [f"{folder}/{name}" for name in names if not name.endswith(".manifest")]
    return found


def data_files(output):
    """Paths of the visible data files relative to the folder: nothing whose name, or whose folder's, begins with a dot
    or an underscore."""
    found = []
    for folder, folders, names in os.walk(output):
        folders[:] = [f for f in folders if f[0] not in "._"]
        found += [os.path.relpath(os.path.join(folder, n), output) for n in names if n[0] not in "._"]
    return sorted(found)
