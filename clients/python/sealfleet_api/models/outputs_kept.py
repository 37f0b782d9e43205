from enum import StrEnum


class OutputsKept(StrEnum):
    LOCAL = "local"
    PROJECT = "project"

    def __str__(self) -> str:
        return str(self.value)
