from enum import StrEnum


class Mode(StrEnum):
    BARE = "bare"
    FULL = "full"
    IDENTITY = "identity"
    SANDBOXED = "sandboxed"

    def __str__(self) -> str:
        return str(self.value)
