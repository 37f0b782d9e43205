from enum import StrEnum


class OnSecret(StrEnum):
    TELL = "tell"
    WITHHOLD = "withhold"

    def __str__(self) -> str:
        return str(self.value)
