"""Calls of the generated functions, with problems as exceptions.

An operation is the `sync_detailed` of a module of `sealfleet_api.api`:

    from sealfleet_api.api.runs import get_run
    run = call(get_run.sync_detailed, run_id, client=connection)
"""

import inspect
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from sealfleet_api import AuthenticatedClient
from sealfleet_api.api.runs import enqueue_run, get_run
from sealfleet_api.models import EnqueueRun, Problem, RunState, RunView
from sealfleet_api.types import Response, Unset

from .errors import ProblemError, UnreadableAnswer

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
Item_co = TypeVar("Item_co", covariant=True)
Item = TypeVar("Item")
Parsed_co = TypeVar("Parsed_co", covariant=True)

FIRST_LOOK = 0.05
LAST_LOOK = 2.0


class Page(Protocol[Item_co]):
    """One page of a list."""

    @property
    def items(self) -> Sequence[Item_co]: ...

    @property
    def next_cursor(self) -> str | Unset: ...


class Answered(Protocol[Parsed_co]):
    """A `Response`, as far as its answer goes."""

    @property
    def parsed(self) -> Parsed_co | None: ...


def call(
    operation: Callable[Parameters, Response[Problem | Answer]],
    *arguments: Parameters.args,
    **named: Parameters.kwargs,
) -> Answer:
    """The answer of an operation; None where it has none.

    Raises:
        ProblemError: The API refuses.
        UnreadableAnswer: Something else answered, or a newer API.
        httpx.TransportError: Nothing answered. The request may have been carried out.
    """
    inspect.signature(operation).bind(*arguments, **named)
    try:
        response = operation(*arguments, **named)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"the answer cannot be read ({error!r}); is the address right?"
        raise UnreadableAnswer(reason) from error
    if isinstance(response.parsed, Problem):
        raise ProblemError(response.parsed)
    if response.parsed is None and response.status_code != 204:
        raise UnreadableAnswer(f"this operation has no answer with HTTP {response.status_code}")
    return cast(Answer, response.parsed)


def enqueue(
    client: AuthenticatedClient, run: EnqueueRun, *, idempotency_key: str | None = None
) -> RunView:
    """Enqueues a run once, also if the answer is lost on the way and the request is sent again.

    Give a key of your own if your program may be started again for the same piece of work.
    """
    key = idempotency_key or str(uuid.uuid4())
    return call(enqueue_run.sync_detailed, client=client, body=run, idempotency_key=key)


def wait(client: AuthenticatedClient, run_id: str, *, timeout: float | None = None) -> RunView:
    """The run, as soon as it has ended; look at its `state`.

    Raises:
        TimeoutError: It has not ended after `timeout` seconds, and goes on.
    """
    began, pause = time.monotonic(), FIRST_LOOK
    while True:
        run = call(get_run.sync_detailed, run_id, client=client)
        if run.state not in (RunState.QUEUED, RunState.RUNNING):
            return run
        passed = time.monotonic() - began
        if timeout is not None and passed + pause > timeout:
            raise TimeoutError(f"{run_id} is {run.state.value} after {passed:.0f} s")
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_LOOK)


def pages(
    operation: Callable[..., Answered[Problem | Page[Item]]], *arguments: Any, **named: Any
) -> Iterator[Item]:
    """The items of all pages of a list, each page asked for when it is needed."""
    while True:
        page: Page[Item] = call(operation, *arguments, **named)  # type: ignore[arg-type]
        yield from page.items
        if isinstance(page.next_cursor, Unset):
            return
        named["cursor"] = page.next_cursor
