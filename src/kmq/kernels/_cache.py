"""Where compiled kernels are kept: on disk as Numba does it, but no fault there stops a call.

Numba keeps the machine code of a function in one folder, which must be writable, and raises
whatever goes wrong in it. Here folders that may only be read are looked into as well, as those of
a container image or of another user. After any fault the kernel is compiled anew.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import warnings
from collections.abc import Callable
from typing import Any

from numba.core import caching, config

from kmq.kernels._native import digest_of_sources

_DIGEST_BYTES = 16

_SETTINGS = ("BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE")
"""Variables of Numba, without their ``NUMBA_``, that make other machine code of the same source."""


def cache_folder() -> str | None:
    """Return where kernels that are compiled now are kept, or None if no folder is writable."""
    folder: str | None = KernelCache(cache_folder).cache_path
    return folder


class KernelCache(caching._Cache):
    """What a dispatcher asks for machine code and gives machine code to, for one kernel."""

    def __init__(self, function: Callable[..., Any]):
        caches = [cache for kind in (_Own, _Named, _InTree) if (cache := kind.of(function))]
        self._caches = list({cache.cache_path: cache for cache in reversed(caches)}.values())[::-1]
        self._is_kept = bool(caches) and isinstance(caches[0], _Own)

    @property
    def cache_path(self):
        """The folder that new machine code is kept in, or None if none is writable."""
        return self._caches[0].cache_path if self._is_kept else None

    def load_overload(self, sig, target_context):
        """Return the machine code for a signature from the first folder that has it, or None."""
        for cache in self._caches:
            try:
                overload = cache.load_overload(sig, target_context)
            except Exception as fault:  # whatever a damaged file makes Numba or LLVM raise
                _tell(f"cannot read compiled kernels in {cache.cache_path}", fault)
                continue
            if overload is not None:
                return overload
        return None

    def save_overload(self, sig, data):
        """Keep machine code for other processes."""
        if not self._is_kept:
            return
        try:
            self._caches[0].save_overload(sig, data)
        except Exception as fault:  # a full disk, a folder that went away
            _tell(f"cannot keep compiled kernels in {self.cache_path}", fault)

    def enable(self):
        """Do nothing: the cache is always on."""

    def disable(self):
        """Do nothing: the cache is always on."""

    def flush(self):
        """Do nothing: what is kept is named by its sources, so it is never out of date."""


class _Folder(caching.FunctionCache):
    """The cache of one kernel in one folder."""

    def __init__(self, function):
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _Files(
            locator.get_cache_path(), self._impl.filename_base, locator.get_source_stamp()
        )

    @classmethod
    def of(cls, function):
        """Return the cache of a function, or None where there is no such folder."""
        try:
            return cls(function)
        except (RuntimeError, OSError):  # no folder, or sources that cannot be read
            return None


class _Files(caching.IndexDataCacheFile):
    """A file for each signature, named by all that its machine code depends on.

    Numba numbers its files and has an index for them: of two processes that write at the same time
    one may then load the other's code for its own. A digest at the front of each file tells code
    that changed on disk, which would crash the process.
    """

    def load(self, key):
        try:
            with open(self._path(key), "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return None
        pickled = content[_DIGEST_BYTES:]
        if content[:_DIGEST_BYTES] != _digest(pickled):
            raise ValueError(f"{os.path.basename(self._path(key))} is damaged")
        return pickle.loads(pickled)  # noqa: S301  # as trusted as the sources beside it

    def save(self, key, data):
        pickled = self._dump(data)
        with self._open_for_write(self._path(key)) as file:
            file.write(_digest(pickled) + pickled)

    def flush(self):
        pass

    def _path(self, key):
        settings = [getattr(config, name) for name in _SETTINGS]
        sources = _sources()  # kernels call functions of other files
        depends_on = repr((self._version, self._source_stamp, sources, settings, key)).encode()
        base = self._index_name.removesuffix(".nbi")
        return self._data_path(f"{base}.{_digest(depends_on).hex()}.nbc")


class _Own(_Folder):
    """The folder that Numba would choose: the first that is writable."""


class _ReadOnly:
    """A locator of a folder in which nothing is written."""

    def ensure_cache_path(self):
        """Do nothing: a folder without files is as good as none."""


class _NamedFolder(_ReadOnly, caching.UserProvidedCacheLocator):
    """The folder that ``NUMBA_CACHE_DIR`` names."""


class _InTreeFolder(_ReadOnly, caching.InTreeCacheLocator):
    """The folder beside the sources."""


class _NamedImpl(caching.CompileResultCacheImpl):
    _locator_classes: Any = [_NamedFolder]  # noqa: RUF012  # as in the base class


class _InTreeImpl(caching.CompileResultCacheImpl):
    _locator_classes: Any = [_InTreeFolder]  # noqa: RUF012


class _Named(_Folder):
    """What ``NUMBA_CACHE_DIR`` has, though it may not be writable."""

    _impl_class: Any = _NamedImpl


class _InTree(_Folder):
    """What was compiled when the package was installed, though its folder may not be writable."""

    _impl_class: Any = _InTreeImpl


_sources = functools.cache(digest_of_sources)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


_told = False


def _tell(fact: str, fault: Exception) -> None:
    """Warn of the first fault in this process."""
    global _told
    if not _told:
        _told = True
        reason = f"{type(fault).__name__}: {fault}"
        warnings.warn(
            f"{fact} ({reason}); they are compiled again instead, which takes some seconds",
            RuntimeWarning,
            stacklevel=2,
        )
