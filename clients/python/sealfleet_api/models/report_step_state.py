from enum import StrEnum


class ReportStepState(StrEnum):
    FAILED = "failed"
    LOST = "lost"
    SUCCEEDED = "succeeded"

    def __str__(self) -> str:
        return str(self.value)
