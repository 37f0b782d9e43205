from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.problem import Problem
from ...models.project_deletion import ProjectDeletion
from ...types import UNSET, Response, Unset


def _get_kwargs(
    project: str,
    *,
    drain: bool | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["drain"] = drain

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/v1/projects/{project}".format(
            project=quote(str(project), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Problem | ProjectDeletion | None:
    if response.status_code == 200:
        response_200 = ProjectDeletion.from_dict(response.json())

        return response_200

    if response.status_code == 202:
        response_202 = ProjectDeletion.from_dict(response.json())

        return response_202

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

    if response.status_code == 409:
        response_409 = Problem.from_dict(response.json())

        return response_409

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
) -> Response[Problem | ProjectDeletion]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    project: str,
    *,
    client: AuthenticatedClient,
    drain: bool | Unset = UNSET,
) -> Response[Problem | ProjectDeletion]:
    """Deletes a project, when repeated until it answers 200. The first request closes it: it takes no
    runs, tokens and keys any more. A minute later, and when its runs have ended, a request revokes its
    tokens, enrolment keys and workers, and deletes it. Its trail and its name stay.

    Args:
        project (str): The name of a project, which is a tenant. Never `system`.
        drain (bool | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | ProjectDeletion]
    """

    kwargs = _get_kwargs(
        project=project,
        drain=drain,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    project: str,
    *,
    client: AuthenticatedClient,
    drain: bool | Unset = UNSET,
) -> Problem | ProjectDeletion | None:
    """Deletes a project, when repeated until it answers 200. The first request closes it: it takes no
    runs, tokens and keys any more. A minute later, and when its runs have ended, a request revokes its
    tokens, enrolment keys and workers, and deletes it. Its trail and its name stay.

    Args:
        project (str): The name of a project, which is a tenant. Never `system`.
        drain (bool | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | ProjectDeletion
    """

    return sync_detailed(
        project=project,
        client=client,
        drain=drain,
    ).parsed


async def asyncio_detailed(
    project: str,
    *,
    client: AuthenticatedClient,
    drain: bool | Unset = UNSET,
) -> Response[Problem | ProjectDeletion]:
    """Deletes a project, when repeated until it answers 200. The first request closes it: it takes no
    runs, tokens and keys any more. A minute later, and when its runs have ended, a request revokes its
    tokens, enrolment keys and workers, and deletes it. Its trail and its name stay.

    Args:
        project (str): The name of a project, which is a tenant. Never `system`.
        drain (bool | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | ProjectDeletion]
    """

    kwargs = _get_kwargs(
        project=project,
        drain=drain,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    project: str,
    *,
    client: AuthenticatedClient,
    drain: bool | Unset = UNSET,
) -> Problem | ProjectDeletion | None:
    """Deletes a project, when repeated until it answers 200. The first request closes it: it takes no
    runs, tokens and keys any more. A minute later, and when its runs have ended, a request revokes its
    tokens, enrolment keys and workers, and deletes it. Its trail and its name stay.

    Args:
        project (str): The name of a project, which is a tenant. Never `system`.
        drain (bool | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | ProjectDeletion
    """

    return (
        await asyncio_detailed(
            project=project,
            client=client,
            drain=drain,
        )
    ).parsed
