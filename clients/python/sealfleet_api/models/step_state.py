from enum import StrEnum


class StepState(StrEnum):
    ABORTED = "aborted"
    BLOCKED = "blocked"
    DEAD = "dead"
    FAILED = "failed"
    LEASED = "leased"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    WAITING = "waiting"

    def __str__(self) -> str:
        return str(self.value)
