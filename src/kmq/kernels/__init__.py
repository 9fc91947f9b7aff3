"""Compiled loops: the only code that imports numba, and only where no library has them compiled.

Arrays and scalars in, arrays and status codes out; never Python objects, never exceptions. Numba
caches a kernel beside its own file and does not see changes elsewhere, so kernels that call each
other share one file and constants are passed as arguments.
"""
