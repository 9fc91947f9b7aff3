"""Make what pages load: ``python src/kmq/web/build.py``.

rows.c becomes WebAssembly inside kmq.js, and kmq.js becomes kmq.min.js. This needs esbuild and, if
rows.c has changed, the compiler that the package ziglang brings: ``pip install ziglang``. The same
versions make the same bytes; ziglang 0.17.1 and esbuild 0.17.0 made those that are there.
"""

import base64
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

WEB = Path(__file__).parent
COMPILE = [
    "-target",
    "wasm32-freestanding",
    "-msimd128",
    "-mbulk-memory",
    "-Os",  # -O2 makes "mix" a sixth faster and the script 700 bytes longer
    "-fno-vectorize",
    "-fno-slp-vectorize",
    "-ffreestanding",
    "-nostdlib",
    "-Wl,--no-entry",
    "-Wl,--import-memory",
    "-Wl,--strip-all",
    "-Wl,-z,stack-size=4096",
]
PLACE = re.compile(r'(?<=const ROWS_WASM =\n  ")[^"]*')


def main() -> None:
    """Rewrite kmq.js and kmq.min.js."""
    module = WEB / "kmq.js"
    source = module.read_text(encoding="utf-8")
    if importlib.util.find_spec("ziglang"):
        source, count = PLACE.subn(_compiled(), source)
        if count != 1:
            sys.exit("kmq.js has no place for what rows.c becomes")
        module.write_text(source, encoding="utf-8")
    else:
        print("rows.c is not compiled: that needs ziglang", file=sys.stderr)
    (WEB / "kmq.min.js").write_text(minified(source), encoding="utf-8")


def minified(source: str) -> str:
    """Return a module without comments and long names. Its first line names its source."""
    esbuild = shutil.which("esbuild") or sys.exit("kmq.min.js is not made: that needs esbuild")
    command = [esbuild, "--minify", "--format=esm", "--target=es2022", "--log-level=warning"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)  # noqa: S603
    return f"{mark(source)}\n{done.stdout}"


def mark(source: str) -> str:
    """Return the first line of what is made from a module."""
    return f"// kmq.js {zlib.crc32(source.encode()):08x}"


def _compiled() -> str:
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "rows.wasm"
        compiler = [sys.executable, "-m", "ziglang", "cc", *COMPILE]
        subprocess.run([*compiler, "-o", binary, WEB / "rows.c"], check=True)  # noqa: S603
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        deflated = deflater.compress(binary.read_bytes()) + deflater.flush()
    return base64.b64encode(deflated).decode()


if __name__ == "__main__":
    main()
