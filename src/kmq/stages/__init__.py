"""The steps from picture to file and back. A stage knows the model and its kernels, no other stage.

Kernels are imported inside the functions that run them, so that reading a header or printing help
never loads numba.
"""
