"""Runs notebooks plainly and remotely, and compares what their cells show.

``python -m tests.parity NOTEBOOK-OR-FOLDER …`` from the top of the repository; ``--help`` says the rest. Each
notebook is run plainly twice and once remotely. What differs between the plain runs (times, addresses, random
numbers) is excluded; everything else must be the same remotely.
"""
