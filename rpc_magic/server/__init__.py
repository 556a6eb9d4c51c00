"""The supervisor: listens, authenticates, watches, interrupts, reports. It never unpickles anything.

It loads no pickle, dill, numpy or IPython; a test asserts that on the running process.
"""
