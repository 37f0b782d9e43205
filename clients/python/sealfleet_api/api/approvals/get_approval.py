from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.approval_view import ApprovalView
from ...models.problem import Problem
from ...types import Response


def _get_kwargs(
    approval: str,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/approvals/{approval}".format(
            approval=quote(str(approval), safe=""),
        ),
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> ApprovalView | Problem | None:
    if response.status_code == 200:
        response_200 = ApprovalView.from_dict(response.json())

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
) -> Response[ApprovalView | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    approval: str,
    *,
    client: AuthenticatedClient,
) -> Response[ApprovalView | Problem]:
    """Returns an approval with all that a decision on it is about, and the token that stands for that.

    Args:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ApprovalView | Problem]
    """

    kwargs = _get_kwargs(
        approval=approval,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    approval: str,
    *,
    client: AuthenticatedClient,
) -> ApprovalView | Problem | None:
    """Returns an approval with all that a decision on it is about, and the token that stands for that.

    Args:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ApprovalView | Problem
    """

    return sync_detailed(
        approval=approval,
        client=client,
    ).parsed


async def asyncio_detailed(
    approval: str,
    *,
    client: AuthenticatedClient,
) -> Response[ApprovalView | Problem]:
    """Returns an approval with all that a decision on it is about, and the token that stands for that.

    Args:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ApprovalView | Problem]
    """

    kwargs = _get_kwargs(
        approval=approval,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    approval: str,
    *,
    client: AuthenticatedClient,
) -> ApprovalView | Problem | None:
    """Returns an approval with all that a decision on it is about, and the token that stands for that.

    Args:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ApprovalView | Problem
    """

    return (
        await asyncio_detailed(
            approval=approval,
            client=client,
        )
    ).parsed
