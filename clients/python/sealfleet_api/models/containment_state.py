from enum import StrEnum


class ContainmentState(StrEnum):
    CONTAINED = "contained"
    GOING_ON = "going_on"
    INCOMPLETE = "incomplete"

    def __str__(self) -> str:
        return str(self.value)
