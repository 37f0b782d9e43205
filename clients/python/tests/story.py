"""A story that the Python client runs against a stack.

The environment names the API, an operator's token and a project whose queues are deployed.
Prints the id of the run that it enqueued and cancelled.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from sealfleet import Connection, ProblemError, call, connect_with, enqueue, pages, wait
from sealfleet_api.api.audit import list_audit_entries
from sealfleet_api.api.profiles import create_profile, put_profile
from sealfleet_api.api.projects import create_project
from sealfleet_api.api.runs import cancel_run, get_run, list_runs
from sealfleet_api.api.tokens import create_token
from sealfleet_api.models import (
    AbortReasonCancelled,
    Code,
    CreatePoolPull,
    CreateProfile,
    CreateProject,
    CreateProjectPools,
    CreateToken,
    CreateTokenRole,
    EnqueueRun,
    EnqueueStep,
    Env,
    EventRunEnqueued,
    Mode,
    PoolViewPull,
    Problem,
    ProfileContent,
    RunState,
    StepState,
)


def refused(code: Code, operation: Callable[..., Any], *arguments: Any, **named: Any) -> Problem:
    """The problem, which has this code."""
    try:
        answer = operation(*arguments, **named)
    except ProblemError as error:
        assert error.code is code, error
        return error.problem
    raise AssertionError(f"answered {answer}")


def client(token: str) -> Connection:
    return connect_with(os.environ["SEALFLEET_API_URL"], token)


def story() -> str:
    project = os.environ["SEALFLEET_PROJECT"]
    operator = client(os.environ["SEALFLEET_OPERATOR_TOKEN"])

    pools = CreateProjectPools.from_dict({"workers": CreatePoolPull("pull").to_dict()})
    asked = CreateProject(pools, project)
    created = call(create_project.sync_detailed, client=operator, body=asked)
    assert isinstance(created.pools["workers"], PoolViewPull), created
    refused(Code.ALREADY_EXISTS, call, create_project.sync_detailed, client=operator, body=asked)

    token = CreateToken(CreateTokenRole.ADMIN, project=project)
    made = call(create_token.sync_detailed, client=operator, body=token)
    admin = client(made.token)

    profile = CreateProfile("crm", env=Env.from_dict({"REGION": "eu"}))
    assert call(create_profile.sync_detailed, client=admin, body=profile).version == 1
    content = ProfileContent(env=Env.from_dict({"REGION": "us"}))
    replace = partial(put_profile.sync_detailed, "crm", client=admin, body=content, if_match='"1"')
    assert call(replace).version == 2
    refused(Code.VERSION_CONFLICT, call, replace)

    step = EnqueueStep("main", Mode.BARE, "workers", command=["/bin/true"])
    wanted = EnqueueRun([step], "billing", profile="crm")
    run = enqueue(admin, wanted, idempotency_key="once")
    assert enqueue(admin, wanted, idempotency_key="once").run_id == run.run_id
    read = call(get_run.sync_detailed, run.run_id, client=admin)
    assert (read.state, read.steps[0].state) == (RunState.QUEUED, StepState.QUEUED), read
    try:
        ended = wait(admin, run.run_id, timeout=0.2)
        raise AssertionError(f"no worker is there, and the run is {ended.state}")
    except TimeoutError:
        pass

    nowhere = EnqueueRun([EnqueueStep("main", Mode.BARE, "no", command=["/bin/true"])], "billing")
    problem = refused(Code.INVALID_REQUEST, enqueue, admin, nowhere)
    assert problem.field == "steps[0].pool", problem
    foreign = "run_0198c0de-0000-7000-8000-00000000000a"
    refused(Code.NOT_FOUND, call, get_run.sync_detailed, foreign, client=admin)
    refused(Code.UNAUTHENTICATED, call, get_run.sync_detailed, run.run_id, client=client("none"))

    other = enqueue(admin, wanted)
    assert other.run_id != run.run_id
    for one in (other, run):
        cancelled = call(cancel_run.sync_detailed, one.run_id, client=admin)
        assert isinstance(cancelled.steps[0].aborted, AbortReasonCancelled), cancelled
    assert wait(admin, run.run_id, timeout=10).state is RunState.ABORTED

    # One run a page.
    listed = pages(list_runs.sync_detailed, client=admin, limit=1)
    assert {summary.run_id for summary in listed} == {run.run_id, other.run_id}
    trail = pages(list_audit_entries.sync_detailed, client=admin, run=run.run_id)
    events = [event for entry in trail for event in entry.events]
    assert any(isinstance(event, EventRunEnqueued) for event in events), events
    return run.run_id


if __name__ == "__main__":
    print(story())
