from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.fan_out_view import FanOutView
from ...models.problem import Problem
from ...types import Response


def _get_kwargs(
    fan_out_id: str,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/fan-outs/{fan_out_id}".format(
            fan_out_id=quote(str(fan_out_id), safe=""),
        ),
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> FanOutView | Problem | None:
    if response.status_code == 200:
        response_200 = FanOutView.from_dict(response.json())

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
) -> Response[FanOutView | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    fan_out_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[FanOutView | Problem]:
    """Shows how many runs a hard revocation has aborted so far.

    Args:
        fan_out_id (str): The id of a hard revocation's fan-out.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[FanOutView | Problem]
    """

    kwargs = _get_kwargs(
        fan_out_id=fan_out_id,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    fan_out_id: str,
    *,
    client: AuthenticatedClient,
) -> FanOutView | Problem | None:
    """Shows how many runs a hard revocation has aborted so far.

    Args:
        fan_out_id (str): The id of a hard revocation's fan-out.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        FanOutView | Problem
    """

    return sync_detailed(
        fan_out_id=fan_out_id,
        client=client,
    ).parsed


async def asyncio_detailed(
    fan_out_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[FanOutView | Problem]:
    """Shows how many runs a hard revocation has aborted so far.

    Args:
        fan_out_id (str): The id of a hard revocation's fan-out.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[FanOutView | Problem]
    """

    kwargs = _get_kwargs(
        fan_out_id=fan_out_id,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    fan_out_id: str,
    *,
    client: AuthenticatedClient,
) -> FanOutView | Problem | None:
    """Shows how many runs a hard revocation has aborted so far.

    Args:
        fan_out_id (str): The id of a hard revocation's fan-out.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        FanOutView | Problem
    """

    return (
        await asyncio_detailed(
            fan_out_id=fan_out_id,
            client=client,
        )
    ).parsed
