from enum import StrEnum


class RunState(StrEnum):
    ABORTED = "aborted"
    DEAD = "dead"
    FAILED = "failed"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"

    def __str__(self) -> str:
        return str(self.value)
