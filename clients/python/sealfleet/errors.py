"""Why an operation has no answer. No error holds the credential.

`httpx.TransportError` is not among these: then no answer came at all.
"""

from sealfleet_api.models import Code, Problem


class SealfleetError(Exception):
    """Why an operation has no answer."""


class ProblemError(SealfleetError):
    """The API refused the request, and says why (RFC 9457)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        field = f" (`{problem.field}`)" if problem.field else ""
        super().__init__(f"{problem.code.value}{field}: {problem.detail}")

    @property
    def code(self) -> Code:
        """The stable code, to decide by."""
        return self.problem.code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status


class UnreadableAnswer(SealfleetError):
    """The answer is not of this API, or of a newer one than this client knows."""
