"""A story that the generated Python client runs against a stack.

The environment names the API, an operator's token and a project whose queues are deployed.
Prints the id of the run that it enqueued and cancelled.
"""

import os
from typing import Any, TypeVar

from sealfleet_api import AuthenticatedClient
from sealfleet_api.api.audit import list_audit_entries
from sealfleet_api.api.profiles import create_profile, put_profile
from sealfleet_api.api.projects import create_project
from sealfleet_api.api.runs import cancel_run, enqueue_run, get_run
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
    PageOfAuditEntry,
    PoolViewPull,
    Problem,
    Profile,
    ProfileContent,
    ProjectView,
    RunState,
    RunView,
    StepState,
    TokenCreated,
)
from sealfleet_api.types import Response

Answer = TypeVar("Answer")


def answered(kind: type[Answer], response: Response[Any], status: int) -> Answer:
    """The answer, which has this status and this type."""
    assert response.status_code == status, (response.status_code, response.content)
    assert isinstance(response.parsed, kind), type(response.parsed)
    return response.parsed


def client(token: str) -> AuthenticatedClient:
    return AuthenticatedClient(os.environ["SEALFLEET_API_URL"], token)


def story() -> str:
    project = os.environ["SEALFLEET_PROJECT"]
    operator = client(os.environ["SEALFLEET_OPERATOR_TOKEN"])

    pools = CreateProjectPools.from_dict({"workers": CreatePoolPull("pull").to_dict()})
    created = create_project.sync_detailed(client=operator, body=CreateProject(pools, project))
    pools_now = answered(ProjectView, created, 201).pools
    assert isinstance(pools_now["workers"], PoolViewPull), pools_now
    again = create_project.sync_detailed(client=operator, body=CreateProject(pools, project))
    assert answered(Problem, again, 409).code is Code.ALREADY_EXISTS

    asked = CreateToken(CreateTokenRole.ADMIN, project=project)
    made = create_token.sync_detailed(client=operator, body=asked)
    admin = client(answered(TokenCreated, made, 201).token)

    profile = CreateProfile("crm", env=Env.from_dict({"REGION": "eu"}))
    response = create_profile.sync_detailed(client=admin, body=profile)
    assert answered(Profile, response, 201).version == 1
    content = ProfileContent(env=Env.from_dict({"REGION": "us"}))
    response = put_profile.sync_detailed("crm", client=admin, body=content, if_match='"1"')
    assert answered(Profile, response, 200).version == 2
    response = put_profile.sync_detailed("crm", client=admin, body=content, if_match='"1"')
    assert answered(Problem, response, 412).code is Code.VERSION_CONFLICT

    step = EnqueueStep("main", Mode.BARE, "workers", command=["/bin/true"])
    wanted = EnqueueRun([step], "billing", profile="crm")
    first = enqueue_run.sync_detailed(client=admin, body=wanted, idempotency_key="once")
    run = answered(RunView, first, 201)
    second = enqueue_run.sync_detailed(client=admin, body=wanted, idempotency_key="once")
    assert answered(RunView, second, 200).run_id == run.run_id
    read = answered(RunView, get_run.sync_detailed(run.run_id, client=admin), 200)
    assert (read.state, read.steps[0].state) == (RunState.QUEUED, StepState.QUEUED), read

    step = EnqueueStep("main", Mode.BARE, "nowhere", command=["/bin/true"])
    nowhere = EnqueueRun([step], "billing")
    problem = answered(Problem, enqueue_run.sync_detailed(client=admin, body=nowhere), 400)
    assert (problem.code, problem.field) == (Code.INVALID_REQUEST, "steps[0].pool"), problem
    foreign = get_run.sync_detailed("run_0198c0de-0000-7000-8000-00000000000a", client=admin)
    assert answered(Problem, foreign, 404).code is Code.NOT_FOUND
    stranger = get_run.sync_detailed(run.run_id, client=client("none"))
    assert answered(Problem, stranger, 401).code is Code.UNAUTHENTICATED

    cancelled = answered(RunView, cancel_run.sync_detailed(run.run_id, client=admin), 200)
    assert cancelled.state is RunState.ABORTED, cancelled
    assert isinstance(cancelled.steps[0].aborted, AbortReasonCancelled), cancelled

    trail = list_audit_entries.sync_detailed(client=admin, run=run.run_id)
    entries = answered(PageOfAuditEntry, trail, 200).items
    events = [event for entry in entries for event in entry.events]
    assert any(isinstance(event, EventRunEnqueued) for event in events), events
    return run.run_id


if __name__ == "__main__":
    print(story())
