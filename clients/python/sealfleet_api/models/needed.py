from enum import StrEnum


class Needed(StrEnum):
    REQUIRED = "required"

    def __str__(self) -> str:
        return str(self.value)
