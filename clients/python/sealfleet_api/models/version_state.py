from enum import StrEnum


class VersionState(StrEnum):
    CANCELLED = "cancelled"
    DENIED = "denied"
    LIVE = "live"
    PENDING = "pending"
    RETIRED = "retired"
    SUPERSEDED = "superseded"

    def __str__(self) -> str:
        return str(self.value)
