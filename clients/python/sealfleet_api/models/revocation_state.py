from enum import StrEnum


class RevocationState(StrEnum):
    ACTIVE = "active"
    LIFTED = "lifted"

    def __str__(self) -> str:
        return str(self.value)
