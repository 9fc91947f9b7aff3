"""Compile mix.c and put it into kmq.js: ``python src/kmq/web/build.py``.

Needs the compiler that the package ziglang brings: ``pip install ziglang``. The same version of it
makes the same bytes; 0.17.1 made those that are there.
"""

import base64
import re
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

WEB = Path(__file__).parent
FLAGS = [
    "-target",
    "wasm32-freestanding",
    "-msimd128",
    "-mbulk-memory",
    "-O3",
    "-ffreestanding",
    "-nostdlib",
    "-Wl,--no-entry",
    "-Wl,--import-memory",
    "-Wl,--strip-all",
    "-Wl,-z,stack-size=4096",
]
PLACE = re.compile(r'(?<=const MIX_WASM =\n  ")[^"]*')


def main() -> None:
    """Rewrite kmq.js."""
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "mix.wasm"
        compiler = [sys.executable, "-m", "ziglang", "cc", *FLAGS]
        subprocess.run([*compiler, "-o", binary, WEB / "mix.c"], check=True)  # noqa: S603
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        deflated = deflater.compress(binary.read_bytes()) + deflater.flush()
        text = base64.b64encode(deflated).decode()
    module = WEB / "kmq.js"
    source, count = PLACE.subn(text, module.read_text(encoding="utf-8"))
    if count != 1:
        sys.exit("kmq.js has no place for what mix.c becomes")
    module.write_text(source, encoding="utf-8")


if __name__ == "__main__":
    main()
