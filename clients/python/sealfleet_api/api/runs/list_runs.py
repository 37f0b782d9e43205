import datetime
from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.page_of_run_summary import PageOfRunSummary
from ...models.problem import Problem
from ...models.run_state import RunState
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
    state: RunState | Unset = UNSET,
    workflow: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    label: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["limit"] = limit

    params["cursor"] = cursor

    json_state: str | Unset = UNSET
    if not isinstance(state, Unset):
        json_state = state.value

    params["state"] = json_state

    params["workflow"] = workflow

    params["profile"] = profile

    params["label"] = label

    json_from_: str | Unset = UNSET
    if not isinstance(from_, Unset):
        json_from_ = from_.isoformat()
    params["from"] = json_from_

    json_to: str | Unset = UNSET
    if not isinstance(to, Unset):
        json_to = to.isoformat()
    params["to"] = json_to

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/runs",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> PageOfRunSummary | Problem | None:
    if response.status_code == 200:
        response_200 = PageOfRunSummary.from_dict(response.json())

        return response_200

    if response.status_code == 400:
        response_400 = Problem.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Problem.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = Problem.from_dict(response.json())

        return response_403

    if response.status_code == 413:
        response_413 = Problem.from_dict(response.json())

        return response_413

    if response.status_code == 429:
        response_429 = Problem.from_dict(response.json())

        return response_429

    if response.status_code == 500:
        response_500 = Problem.from_dict(response.json())

        return response_500

    if response.status_code == 503:
        response_503 = Problem.from_dict(response.json())

        return response_503

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[PageOfRunSummary | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
    state: RunState | Unset = UNSET,
    workflow: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    label: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
) -> Response[PageOfRunSummary | Problem]:
    """Lists the project's runs.

    Args:
        limit (int | Unset):  Default: 50.
        cursor (str | Unset):
        state (RunState | Unset): A run's state, derived from its steps.

            - `queued`: No step has been claimed.

            - `running`: Some step has been claimed, and not all have ended.

            - `succeeded`: All steps succeeded.

            - `failed`: A step failed.

            - `aborted`: A caller ended it.

            - `dead`: A step was given up.
        workflow (str | Unset): The name of a workflow: the kind of work that a run does.
        profile (str | Unset): The name of a profile of the project, or `system/NAME` for one of
            the system scope.
        label (str | Unset):
        from_ (datetime.datetime | Unset): A date and time of RFC 3339.
        to (datetime.datetime | Unset): A date and time of RFC 3339.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[PageOfRunSummary | Problem]
    """

    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        state=state,
        workflow=workflow,
        profile=profile,
        label=label,
        from_=from_,
        to=to,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
    state: RunState | Unset = UNSET,
    workflow: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    label: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
) -> PageOfRunSummary | Problem | None:
    """Lists the project's runs.

    Args:
        limit (int | Unset):  Default: 50.
        cursor (str | Unset):
        state (RunState | Unset): A run's state, derived from its steps.

            - `queued`: No step has been claimed.

            - `running`: Some step has been claimed, and not all have ended.

            - `succeeded`: All steps succeeded.

            - `failed`: A step failed.

            - `aborted`: A caller ended it.

            - `dead`: A step was given up.
        workflow (str | Unset): The name of a workflow: the kind of work that a run does.
        profile (str | Unset): The name of a profile of the project, or `system/NAME` for one of
            the system scope.
        label (str | Unset):
        from_ (datetime.datetime | Unset): A date and time of RFC 3339.
        to (datetime.datetime | Unset): A date and time of RFC 3339.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        PageOfRunSummary | Problem
    """

    return sync_detailed(
        client=client,
        limit=limit,
        cursor=cursor,
        state=state,
        workflow=workflow,
        profile=profile,
        label=label,
        from_=from_,
        to=to,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
    state: RunState | Unset = UNSET,
    workflow: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    label: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
) -> Response[PageOfRunSummary | Problem]:
    """Lists the project's runs.

    Args:
        limit (int | Unset):  Default: 50.
        cursor (str | Unset):
        state (RunState | Unset): A run's state, derived from its steps.

            - `queued`: No step has been claimed.

            - `running`: Some step has been claimed, and not all have ended.

            - `succeeded`: All steps succeeded.

            - `failed`: A step failed.

            - `aborted`: A caller ended it.

            - `dead`: A step was given up.
        workflow (str | Unset): The name of a workflow: the kind of work that a run does.
        profile (str | Unset): The name of a profile of the project, or `system/NAME` for one of
            the system scope.
        label (str | Unset):
        from_ (datetime.datetime | Unset): A date and time of RFC 3339.
        to (datetime.datetime | Unset): A date and time of RFC 3339.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[PageOfRunSummary | Problem]
    """

    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        state=state,
        workflow=workflow,
        profile=profile,
        label=label,
        from_=from_,
        to=to,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
    state: RunState | Unset = UNSET,
    workflow: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    label: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
) -> PageOfRunSummary | Problem | None:
    """Lists the project's runs.

    Args:
        limit (int | Unset):  Default: 50.
        cursor (str | Unset):
        state (RunState | Unset): A run's state, derived from its steps.

            - `queued`: No step has been claimed.

            - `running`: Some step has been claimed, and not all have ended.

            - `succeeded`: All steps succeeded.

            - `failed`: A step failed.

            - `aborted`: A caller ended it.

            - `dead`: A step was given up.
        workflow (str | Unset): The name of a workflow: the kind of work that a run does.
        profile (str | Unset): The name of a profile of the project, or `system/NAME` for one of
            the system scope.
        label (str | Unset):
        from_ (datetime.datetime | Unset): A date and time of RFC 3339.
        to (datetime.datetime | Unset): A date and time of RFC 3339.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        PageOfRunSummary | Problem
    """

    return (
        await asyncio_detailed(
            client=client,
            limit=limit,
            cursor=cursor,
            state=state,
            workflow=workflow,
            profile=profile,
            label=label,
            from_=from_,
            to=to,
        )
    ).parsed
