"""A connection to one control plane, with one credential."""

import ipaddress
import os
import random
import stat
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx

from sealfleet_api import AuthenticatedClient

# As long as API Gateway waits for an answer.
TIMEOUT = httpx.Timeout(30, connect=5)
RETRIES = 3
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
# The longest `Retry-After` that is waited for; a longer one is the caller's to decide on.
LONGEST_TOLD = 10.0


class Connection(AuthenticatedClient):
    """What the functions of `sealfleet_api` take as `client`. Use it in a `with` block."""

    def __repr__(self) -> str:
        """The address alone: the credential is never printed."""
        return f"Connection({self._base_url!r})"

    def get_httpx_client(self) -> httpx.Client:
        """The client that sends the requests, made when it is first needed."""
        if self._client is None:
            self._client = Retrying(
                base_url=self._base_url,
                headers={**self._headers, self.auth_header_name: f"{self.prefix} {self.token}"},
                timeout=self._timeout,
                **self._httpx_args,
            )
        return self._client


class Retrying(httpx.Client):
    """Sends a request again when it had no answer, a 429 or a 5xx, with full jitter.

    A request whose answer was lost may have been carried out. So only what changes nothing the
    second time is sent again: `GET`, and what has an idempotency key.
    """

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        repeatable = request.method == "GET" or "idempotency-key" in request.headers
        retries = RETRIES if repeatable else 0
        for attempt in range(retries):
            told = 0.0
            try:
                response = super().send(request, **options)
            except httpx.TransportError:
                pass
            else:
                told = retry_after(response)
                passing = response.status_code == 429 or response.status_code >= 500
                if not passing or told > LONGEST_TOLD:
                    return response
            time.sleep(told + random.uniform(0, min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)))
        return super().send(request, **options)


def retry_after(response: httpx.Response) -> float:
    """Seconds that the answer tells to wait; a date is not waited for."""
    told = response.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else 0.0


def connect(url: str | None = None, *, token_file: str | Path | None = None) -> Connection:
    """A connection to the control plane at `url` (`https://…`, without `/v1`).

    Without arguments: as `SEALFLEET_API_URL` and `SEALFLEET_TOKEN_FILE` say, like the command
    line. The file holds one line, and nobody but its owner may read it.
    """
    token = read_token(Path(token_file or environment("SEALFLEET_TOKEN_FILE")))
    return connect_with(url or environment("SEALFLEET_API_URL"), token)


def connect_with(url: str, token: str) -> Connection:
    """The same with a token that is at hand, of OpenID Connect perhaps."""
    address = usable(url)
    headers = {"user-agent": f"sealfleet-python/{own_version()}"}
    return Connection(base_url=address, token=token, timeout=TIMEOUT, headers=headers)


def environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"set the environment variable {name}, or give the argument")
    return value


def read_token(path: Path) -> str:
    """The credential in a file."""
    with path.open(encoding="ascii") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            raise PermissionError(
                f"the file `{path}` can be read by others: run `chmod 600 {path}`"
            )
        token = file.read().strip()
    if not token or not all("!" <= letter <= "~" for letter in token):
        raise ValueError(
            f"the file `{path}` does not hold a credential: it must be one line of text"
        )
    return token


def usable(url: str) -> str:
    """The address without a slash at its end. Plain `http` goes to this machine only."""
    parsed = httpx.URL(url)
    if parsed.userinfo:
        raise ValueError("the API's address must not hold a user or password")
    if parsed.query or parsed.fragment:
        raise ValueError(f"the API's address `{url}` must not have a query or fragment")
    if parsed.scheme == "http" and not is_this_machine(parsed.host):
        raise ValueError(f"`{url}`: a credential is sent over `https` only, except to this machine")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"write the API's address `{url}` as `https://HOST`")
    return url.rstrip("/")


def is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def own_version() -> str:
    try:
        return version("sealfleet")
    except PackageNotFoundError:  # Used from its sources.
        return "0"
