"""What a cell finds around it that is no variable: random seeds, options of libraries, filters of warnings, the folder.

A notebook sets such things in its first cells and relies on them in later ones. A kernel and its sessions keep them
equal as they do variables: what has changed on one side goes to the other before a cell, and comes back after it.
"""

from rpc_magic.surroundings.keeping import Surroundings

__all__ = ["Surroundings"]
