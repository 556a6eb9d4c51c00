"""The user's own modules: which they are, the files they consist of, and importing them where they were sent.

`finding` and `files` are the client's, which has the modules; `importing` is for the processes of a session.
"""
