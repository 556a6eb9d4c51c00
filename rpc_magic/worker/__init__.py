"""What runs user code: keeper, worker, engine processes, and the program that exposes functions.

Only here, and in the client, is anything unpickled.
"""
