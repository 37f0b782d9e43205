from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.contain import Contain
from ...models.containment_view import ContainmentView
from ...models.problem import Problem
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    body: Contain,
    idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/containments",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> ContainmentView | Problem | None:
    if response.status_code == 202:
        response_202 = ContainmentView.from_dict(response.json())

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

    if response.status_code == 413:
        response_413 = Problem.from_dict(response.json())

        return response_413

    if response.status_code == 422:
        response_422 = Problem.from_dict(response.json())

        return response_422

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
    *,
    client: AuthenticatedClient,
    body: Contain,
    idempotency_key: str | Unset = UNSET,
) -> Response[ContainmentView | Problem]:
    """Stops everything that the project does, and could begin: revokes all keys of its profiles hard,
    revokes its workers and enrolment keys, drains its Fargate pools, revokes its API tokens if that is
    asked for, and cancels its runs. It goes on until nothing is left, whatever becomes of the caller.
    Retrying with the same idempotency key never begins a second one.

    Args:
        idempotency_key (str | Unset):
        body (Contain): Stops everything that the project does, and could begin.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ContainmentView | Problem]
    """

    kwargs = _get_kwargs(
        body=body,
        idempotency_key=idempotency_key,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    body: Contain,
    idempotency_key: str | Unset = UNSET,
) -> ContainmentView | Problem | None:
    """Stops everything that the project does, and could begin: revokes all keys of its profiles hard,
    revokes its workers and enrolment keys, drains its Fargate pools, revokes its API tokens if that is
    asked for, and cancels its runs. It goes on until nothing is left, whatever becomes of the caller.
    Retrying with the same idempotency key never begins a second one.

    Args:
        idempotency_key (str | Unset):
        body (Contain): Stops everything that the project does, and could begin.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ContainmentView | Problem
    """

    return sync_detailed(
        client=client,
        body=body,
        idempotency_key=idempotency_key,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: Contain,
    idempotency_key: str | Unset = UNSET,
) -> Response[ContainmentView | Problem]:
    """Stops everything that the project does, and could begin: revokes all keys of its profiles hard,
    revokes its workers and enrolment keys, drains its Fargate pools, revokes its API tokens if that is
    asked for, and cancels its runs. It goes on until nothing is left, whatever becomes of the caller.
    Retrying with the same idempotency key never begins a second one.

    Args:
        idempotency_key (str | Unset):
        body (Contain): Stops everything that the project does, and could begin.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ContainmentView | Problem]
    """

    kwargs = _get_kwargs(
        body=body,
        idempotency_key=idempotency_key,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    body: Contain,
    idempotency_key: str | Unset = UNSET,
) -> ContainmentView | Problem | None:
    """Stops everything that the project does, and could begin: revokes all keys of its profiles hard,
    revokes its workers and enrolment keys, drains its Fargate pools, revokes its API tokens if that is
    asked for, and cancels its runs. It goes on until nothing is left, whatever becomes of the caller.
    Retrying with the same idempotency key never begins a second one.

    Args:
        idempotency_key (str | Unset):
        body (Contain): Stops everything that the project does, and could begin.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ContainmentView | Problem
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
            idempotency_key=idempotency_key,
        )
    ).parsed
