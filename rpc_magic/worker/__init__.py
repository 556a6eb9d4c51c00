"""What runs user code: the keeper that forks workers, the worker of a session, the engine's processes, and the
program that exposes functions. Only here, and in the client, is anything unpickled.
"""
