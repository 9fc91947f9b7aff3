"""Files and folders that URLs name, through fsspec."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeAlias

from kmq.streams import file_system, naming_url

_WEB = ("http://", "https://")


class Url(str):
    """A URL, spelled as it was given, with what `Path` has for names.

    The first link of a chain has its name: in ``zip://in/a.png::s3://bucket/all.zip`` it is a.png.
    """

    __slots__ = ()

    @property
    def _link(self) -> str:
        """The URL up to its name, without a query and the rest of a chain."""
        return re.split(r"::|[?#]" if self.startswith(_WEB) else "::", self, maxsplit=1)[0]

    @property
    def name(self) -> str:
        """Name of the file or folder."""
        return self._link.rstrip("/").rpartition("/")[2]

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The last suffix of its name, with the dot."""
        return PurePosixPath(self.name).suffix

    @property
    def is_read_only(self) -> bool:
        """Whether it is known that nothing can be written there: the web, and inside of archives.

        (A web server would be sent the file as a form that was filled in.)
        """
        return self.startswith(_WEB) or "::" in self

    @property
    def _folder(self) -> str:
        """The URL up to the slash that names of files in this folder come after."""
        return self._link if self._link.endswith("/") else self._link + "/"

    def with_name(self, name: str) -> Url:
        """Return the URL of another file in the same folder."""
        link = self._link
        return Url(link.rstrip("/").removesuffix(self.name) + name + self[len(link) :])

    def __truediv__(self, path: PurePath) -> Url:
        """Return the URL of a file in this folder."""
        return Url(self._folder + path.as_posix())

    def identity(self) -> tuple[int, str] | Path:
        """Return what is the same for all spellings; of a file of this machine, its path."""
        system, path = file_system(self)
        from fsspec.implementations.local import LocalFileSystem

        return Path(path) if isinstance(system, LocalFileSystem) else (hash(system), path)

    def is_folder(self) -> bool:
        """Whether there are files below it, or it ends in a slash."""
        system, path = file_system(self)
        with naming_url(self):
            return bool(self._link.endswith("/") or system.isdir(path))

    def is_pattern(self) -> bool:
        """Whether it may match several files; the name of one that exists is none."""
        if not glob.has_magic(self._link):
            return False
        system, path = file_system(self)
        with naming_url(self):  # a host, of which the path says nothing, may have brackets as well
            return glob.has_magic(path) and not system.exists(path)

    def matches(self) -> Iterator[tuple[Url, Path]]:
        """Yield the files that this pattern matches, and their paths within its fixed part."""
        system, path = file_system(self)
        parts = path.split("/")
        n_fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
        links = self._link.rstrip("/").split("/")
        with naming_url(self):
            found = system.glob(path, detail=True).items()
        names = [name for name, facts in found if facts["type"] != "directory"]
        root, folder = parts[:n_fixed], links[: n_fixed - len(parts)]
        return self._within("/".join(root), names, "/".join(folder) + "/")

    def below(self) -> Iterator[tuple[Url, Path]]:
        """Yield the files of this folder and of those below it, and their paths within it."""
        system, path = file_system(self)
        with naming_url(self):
            names = system.find(path)
        return self._within(path, names, self._folder)

    def _within(self, root: str, names: list[str], folder: str) -> Iterator[tuple[Url, Path]]:
        """Yield the URLs of files that are not hidden, and their paths within `root`.

        A name with .. is left out as well: its path leads out of a folder that it is joined to.
        """
        for name in names:
            within = name.removeprefix(root).removeprefix("/")
            parts = within.split("/")
            if within and not any(part.startswith(".") for part in parts):
                # In a path, \ and : may mean something that they do not in a URL.
                place = Path(*(PurePath(part).name for part in parts))
                yield Url(folder + within + self[len(self._link) :]), place

    def exists(self) -> bool:
        """Whether there is such a file or folder; raise OSError if that cannot be told."""
        system, path = file_system(self)
        try:
            with naming_url(self):
                system.info(path)
        except FileNotFoundError:
            return False
        return True

    def head(self, n_bytes: int) -> bytes:
        """Return the first bytes of the file."""
        system, path = file_system(self)
        with naming_url(self):
            content: bytes = system.cat_file(path, start=0, end=n_bytes)
        return content

    def fetch(self, file: Path) -> None:
        """Copy what it names into a file here."""
        system, path = file_system(self)
        with naming_url(self):
            system.get_file(path, str(file))

    def put(self, file: Path) -> None:
        """Copy a file there, where it appears whole or not at all.

        Stores of objects show one when it is complete. Where files can be renamed, it gets its name
        when it is complete.
        """
        system, path = file_system(self)
        with naming_url(self):
            if not _renames(system):
                system.put_file(str(file), path)
                return
            folder = path.rpartition("/")[0]
            if folder:
                system.makedirs(folder, exist_ok=True)
            beside = f"{folder}/.kmq-{os.urandom(8).hex()}"
            try:
                system.put_file(str(file), beside)
                system.mv(beside, path)
            except BaseException:
                with suppress(Exception):  # there is none
                    system.rm_file(beside)
                raise


File: TypeAlias = Path | Url
"""A file to read or write, here or elsewhere."""


def _renames(system: Any) -> bool:
    """Whether a file system can give a file another name and need not copy it for that."""
    from fsspec import AbstractFileSystem

    return type(system).mv is not AbstractFileSystem.mv
