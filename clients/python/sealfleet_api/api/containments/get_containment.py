from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.containment_view import ContainmentView
from ...models.problem import Problem
from ...types import Response


def _get_kwargs(
    containment_id: str,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/containments/{containment_id}".format(
            containment_id=quote(str(containment_id), safe=""),
        ),
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> ContainmentView | Problem | None:
    if response.status_code == 200:
        response_200 = ContainmentView.from_dict(response.json())

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
) -> Response[ContainmentView | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    containment_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[ContainmentView | Problem]:
    """Shows what a containment has stopped so far, and what is left.

    Args:
        containment_id (str): The id of a containment: an incident in which all work of a project
            was stopped.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ContainmentView | Problem]
    """

    kwargs = _get_kwargs(
        containment_id=containment_id,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    containment_id: str,
    *,
    client: AuthenticatedClient,
) -> ContainmentView | Problem | None:
    """Shows what a containment has stopped so far, and what is left.

    Args:
        containment_id (str): The id of a containment: an incident in which all work of a project
            was stopped.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ContainmentView | Problem
    """

    return sync_detailed(
        containment_id=containment_id,
        client=client,
    ).parsed


async def asyncio_detailed(
    containment_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[ContainmentView | Problem]:
    """Shows what a containment has stopped so far, and what is left.

    Args:
        containment_id (str): The id of a containment: an incident in which all work of a project
            was stopped.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ContainmentView | Problem]
    """

    kwargs = _get_kwargs(
        containment_id=containment_id,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    containment_id: str,
    *,
    client: AuthenticatedClient,
) -> ContainmentView | Problem | None:
    """Shows what a containment has stopped so far, and what is left.

    Args:
        containment_id (str): The id of a containment: an incident in which all work of a project
            was stopped.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ContainmentView | Problem
    """

    return (
        await asyncio_detailed(
            containment_id=containment_id,
            client=client,
        )
    ).parsed
