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
    """Every manifest, in the order of its epoch."""
    folder = os.path.join(output, ".dujiang", "manifests")
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(os.path.join(folder, name), encoding="utf-8") as text:
            found.append(manifest(json.load(text)))
    return sorted(found, key=lambda m: m.epoch)


def manifest(document):
    epoch = document["epoch"]
    files = [
        File(path=f["path"], epoch=epoch, index=index, rows=f["rows"], bytes=f["bytes"])
        for index, f in enumerate(document["files"])
    ]
    return Manifest(epoch=epoch, files=files)


def data_files(output):
    """Paths of the visible data files relative to the folder: nothing whose name, or whose folder's, begins with a dot
    or an underscore."""
    found = []
    for folder, folders, names in os.walk(output):
        folders[:] = [f for f in folders if f[0] not in "._"]
        found += [os.path.relpath(os.path.join(folder, n), output) for n in names if n[0] not in "._"]
    return sorted(found)
