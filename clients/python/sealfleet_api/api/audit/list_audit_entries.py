import datetime
from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.page_of_audit_entry import PageOfAuditEntry
from ...models.problem import Problem
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    run: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    key: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    containment: str | Unset = UNSET,
    type_: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    project: str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["run"] = run

    params["profile"] = profile

    params["key"] = key

    params["actor"] = actor

    params["containment"] = containment

    params["type"] = type_

    json_from_: str | Unset = UNSET
    if not isinstance(from_, Unset):
        json_from_ = from_.isoformat()
    params["from"] = json_from_

    json_to: str | Unset = UNSET
    if not isinstance(to, Unset):
        json_to = to.isoformat()
    params["to"] = json_to

    params["project"] = project

    params["limit"] = limit

    params["cursor"] = cursor

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/audit",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> PageOfAuditEntry | Problem | None:
    if response.status_code == 200:
        response_200 = PageOfAuditEntry.from_dict(response.json())

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

    if response.status_code == 404:
        response_404 = Problem.from_dict(response.json())

        return response_404

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
) -> Response[PageOfAuditEntry | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    run: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    key: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    containment: str | Unset = UNSET,
    type_: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    project: str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
) -> Response[PageOfAuditEntry | Problem]:
    """Reads the project's audit trail; for operators, the operators' own.

    Args:
        run (str | Unset): A run's id.
        profile (str | Unset): The name of a profile of the project, or `system/NAME` for one of
            the system scope.
        key (str | Unset):
        actor (str | Unset):
        containment (str | Unset): The id of a containment: an incident in which all work of a
            project was stopped.
        type_ (str | Unset):
        from_ (datetime.datetime | Unset): A date and time of RFC 3339.
        to (datetime.datetime | Unset): A date and time of RFC 3339.
        project (str | Unset):
        limit (int | Unset):  Default: 50.
        cursor (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[PageOfAuditEntry | Problem]
    """

    kwargs = _get_kwargs(
        run=run,
        profile=profile,
        key=key,
        actor=actor,
        containment=containment,
        type_=type_,
        from_=from_,
        to=to,
        project=project,
        limit=limit,
        cursor=cursor,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    run: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    key: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    containment: str | Unset = UNSET,
    type_: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    project: str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
) -> PageOfAuditEntry | Problem | None:
    """Reads the project's audit trail; for operators, the operators' own.

    Args:
        run (str | Unset): A run's id.
        profile (str | Unset): The name of a profile of the project, or `system/NAME` for one of
            the system scope.
        key (str | Unset):
        actor (str | Unset):
        containment (str | Unset): The id of a containment: an incident in which all work of a
            project was stopped.
        type_ (str | Unset):
        from_ (datetime.datetime | Unset): A date and time of RFC 3339.
        to (datetime.datetime | Unset): A date and time of RFC 3339.
        project (str | Unset):
        limit (int | Unset):  Default: 50.
        cursor (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        PageOfAuditEntry | Problem
    """

    return sync_detailed(
        client=client,
        run=run,
        profile=profile,
        key=key,
        actor=actor,
        containment=containment,
        type_=type_,
        from_=from_,
        to=to,
        project=project,
        limit=limit,
        cursor=cursor,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    run: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    key: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    containment: str | Unset = UNSET,
    type_: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    project: str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
) -> Response[PageOfAuditEntry | Problem]:
    """Reads the project's audit trail; for operators, the operators' own.

    Args:
        run (str | Unset): A run's id.
        profile (str | Unset): The name of a profile of the project, or `system/NAME` for one of
            the system scope.
        key (str | Unset):
        actor (str | Unset):
        containment (str | Unset): The id of a containment: an incident in which all work of a
            project was stopped.
        type_ (str | Unset):
        from_ (datetime.datetime | Unset): A date and time of RFC 3339.
        to (datetime.datetime | Unset): A date and time of RFC 3339.
        project (str | Unset):
        limit (int | Unset):  Default: 50.
        cursor (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[PageOfAuditEntry | Problem]
    """

    kwargs = _get_kwargs(
        run=run,
        profile=profile,
        key=key,
        actor=actor,
        containment=containment,
        type_=type_,
        from_=from_,
        to=to,
        project=project,
        limit=limit,
        cursor=cursor,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    run: str | Unset = UNSET,
    profile: str | Unset = UNSET,
    key: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    containment: str | Unset = UNSET,
    type_: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    project: str | Unset = UNSET,
    limit: int | Unset = 50,
    cursor: str | Unset = UNSET,
) -> PageOfAuditEntry | Problem | None:
    """Reads the project's audit trail; for operators, the operators' own.

    Args:
        run (str | Unset): A run's id.
        profile (str | Unset): The name of a profile of the project, or `system/NAME` for one of
            the system scope.
        key (str | Unset):
        actor (str | Unset):
        containment (str | Unset): The id of a containment: an incident in which all work of a
            project was stopped.
        type_ (str | Unset):
        from_ (datetime.datetime | Unset): A date and time of RFC 3339.
        to (datetime.datetime | Unset): A date and time of RFC 3339.
        project (str | Unset):
        limit (int | Unset):  Default: 50.
        cursor (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        PageOfAuditEntry | Problem
    """

    return (
        await asyncio_detailed(
            client=client,
            run=run,
            profile=profile,
            key=key,
            actor=actor,
            containment=containment,
            type_=type_,
            from_=from_,
            to=to,
            project=project,
            limit=limit,
            cursor=cursor,
        )
    ).parsed
