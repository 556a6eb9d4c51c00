"""Which names a cell reads and binds, what is reachable from them, and what a session lacks of it.

Pure functions over transformed text, syntax trees and live objects: no IPython, no sockets, no threads, no
pickle. `cell_names` reads a cell's text, `reach` follows its names through the namespace, `Ledger` remembers
what one session holds. Names are strings throughout; a *state* is an opaque hashable made by the caller.
"""

from rpc_magic.namespace.anchors import Anchors
from rpc_magic.namespace.cells import CellNames, cell_names, cell_names_of_tree, prelude_index
from rpc_magic.namespace.ledger import REMOTE, Ledger
from rpc_magic.namespace.opaque import attributes_of_class, stored_by, with_nested
from rpc_magic.namespace.outside import references_outside
from rpc_magic.namespace.reach import is_bookkeeping, reach
from rpc_magic.namespace.references import MAX_OBJECTS, referenced_names
from rpc_magic.namespace.sharing import (
    Parts,
    holds_any,
    identities_within,
    parts_of,
    replace_within,
    shared_groups,
)

__all__ = [
    "MAX_OBJECTS",
    "REMOTE",
    "Anchors",
    "CellNames",
    "Ledger",
    "Parts",
    "attributes_of_class",
    "cell_names",
    "cell_names_of_tree",
    "holds_any",
    "identities_within",
    "is_bookkeeping",
    "parts_of",
    "prelude_index",
    "reach",
    "referenced_names",
    "references_outside",
    "replace_within",
    "shared_groups",
    "stored_by",
    "with_nested",
]
