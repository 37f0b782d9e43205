from enum import StrEnum


class OnDrift(StrEnum):
    PROCEED = "proceed"
    REFUSE = "refuse"

    def __str__(self) -> str:
        return str(self.value)
