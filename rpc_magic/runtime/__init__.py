"""What clients and servers of one user share on a machine: folders, tokens, records of servers, and how to start one.

Loads neither pickle nor anything that does: the supervisor stands on it.
"""
