"""A client of Sealfleet.

The package `sealfleet_api` is generated: one function for each operation, one class for each
schema. This package makes them comfortable: a connection that retries, problems as exceptions,
pages as one list, and runs that can be waited for.
"""

from .calls import call, enqueue, pages, wait
from .connection import Connection, connect, connect_with
from .errors import ProblemError, SealfleetError, UnreadableAnswer

__all__ = [
    "Connection",
    "ProblemError",
    "SealfleetError",
    "UnreadableAnswer",
    "call",
    "connect",
    "connect_with",
    "enqueue",
    "pages",
    "wait",
]
