from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.output_page import OutputPage
from ...models.problem import Problem
from ...models.stream import Stream
from ...types import UNSET, Response, Unset


def _get_kwargs(
    run_id: str,
    step_id: str,
    *,
    stream: Stream | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_stream: str | Unset = UNSET
    if not isinstance(stream, Unset):
        json_stream = stream.value

    params["stream"] = json_stream

    params["cursor"] = cursor

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/runs/{run_id}/steps/{step_id}/output".format(
            run_id=quote(str(run_id), safe=""),
            step_id=quote(str(step_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> OutputPage | Problem | None:
    if response.status_code == 200:
        response_200 = OutputPage.from_dict(response.json())

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
) -> Response[OutputPage | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    run_id: str,
    step_id: str,
    *,
    client: AuthenticatedClient,
    stream: Stream | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> Response[OutputPage | Problem]:
    """Reads the output of a step, from the beginning or from where a cursor says, also while it runs. Ask
    again with `next_cursor` until there is none.

    Args:
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
        stream (Stream | Unset): Where a command wrote it.
        cursor (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[OutputPage | Problem]
    """

    kwargs = _get_kwargs(
        run_id=run_id,
        step_id=step_id,
        stream=stream,
        cursor=cursor,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    run_id: str,
    step_id: str,
    *,
    client: AuthenticatedClient,
    stream: Stream | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> OutputPage | Problem | None:
    """Reads the output of a step, from the beginning or from where a cursor says, also while it runs. Ask
    again with `next_cursor` until there is none.

    Args:
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
        stream (Stream | Unset): Where a command wrote it.
        cursor (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        OutputPage | Problem
    """

    return sync_detailed(
        run_id=run_id,
        step_id=step_id,
        client=client,
        stream=stream,
        cursor=cursor,
    ).parsed


async def asyncio_detailed(
    run_id: str,
    step_id: str,
    *,
    client: AuthenticatedClient,
    stream: Stream | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> Response[OutputPage | Problem]:
    """Reads the output of a step, from the beginning or from where a cursor says, also while it runs. Ask
    again with `next_cursor` until there is none.

    Args:
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
        stream (Stream | Unset): Where a command wrote it.
        cursor (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[OutputPage | Problem]
    """

    kwargs = _get_kwargs(
        run_id=run_id,
        step_id=step_id,
        stream=stream,
        cursor=cursor,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    run_id: str,
    step_id: str,
    *,
    client: AuthenticatedClient,
    stream: Stream | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> OutputPage | Problem | None:
    """Reads the output of a step, from the beginning or from where a cursor says, also while it runs. Ask
    again with `next_cursor` until there is none.

    Args:
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
        stream (Stream | Unset): Where a command wrote it.
        cursor (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        OutputPage | Problem
    """

    return (
        await asyncio_detailed(
            run_id=run_id,
            step_id=step_id,
            client=client,
            stream=stream,
            cursor=cursor,
        )
    ).parsed
