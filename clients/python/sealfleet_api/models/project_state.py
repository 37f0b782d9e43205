from enum import StrEnum


class ProjectState(StrEnum):
    CLOSING = "closing"
    DELETED = "deleted"

    def __str__(self) -> str:
        return str(self.value)
