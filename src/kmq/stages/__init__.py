"""The stations on the way from a picture to a file and back, a folder each, in this order:

pictures → histogram → palette → mapping → coding → container

A station knows the model and its kernels, and no other station. Kernels are imported inside the
functions that run them, so that reading a header or printing help never loads numba.
"""
