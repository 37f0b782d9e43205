from enum import StrEnum


class AttemptViewEndType1(StrEnum):
    ABORTED = "aborted"
    DEAD = "dead"
    FAILED = "failed"
    LOST = "lost"
    SUCCEEDED = "succeeded"

    def __str__(self) -> str:
        return str(self.value)
