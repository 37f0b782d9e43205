from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.enrolment_key_view import EnrolmentKeyView
from ...models.problem import Problem
from ...types import Response


def _get_kwargs(
    enrolment_key_id: str,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/v1/enrolment-keys/{enrolment_key_id}".format(
            enrolment_key_id=quote(str(enrolment_key_id), safe=""),
        ),
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> EnrolmentKeyView | Problem | None:
    if response.status_code == 200:
        response_200 = EnrolmentKeyView.from_dict(response.json())

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
) -> Response[EnrolmentKeyView | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    enrolment_key_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[EnrolmentKeyView | Problem]:
    """Revokes an enrolment key. Workers that it approved stay approved.

    Args:
        enrolment_key_id (str): An enrolment key's id.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[EnrolmentKeyView | Problem]
    """

    kwargs = _get_kwargs(
        enrolment_key_id=enrolment_key_id,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    enrolment_key_id: str,
    *,
    client: AuthenticatedClient,
) -> EnrolmentKeyView | Problem | None:
    """Revokes an enrolment key. Workers that it approved stay approved.

    Args:
        enrolment_key_id (str): An enrolment key's id.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        EnrolmentKeyView | Problem
    """

    return sync_detailed(
        enrolment_key_id=enrolment_key_id,
        client=client,
    ).parsed


async def asyncio_detailed(
    enrolment_key_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[EnrolmentKeyView | Problem]:
    """Revokes an enrolment key. Workers that it approved stay approved.

    Args:
        enrolment_key_id (str): An enrolment key's id.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[EnrolmentKeyView | Problem]
    """

    kwargs = _get_kwargs(
        enrolment_key_id=enrolment_key_id,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    enrolment_key_id: str,
    *,
    client: AuthenticatedClient,
) -> EnrolmentKeyView | Problem | None:
    """Revokes an enrolment key. Workers that it approved stay approved.

    Args:
        enrolment_key_id (str): An enrolment key's id.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        EnrolmentKeyView | Problem
    """

    return (
        await asyncio_detailed(
            enrolment_key_id=enrolment_key_id,
            client=client,
        )
    ).parsed
