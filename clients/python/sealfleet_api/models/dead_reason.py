from enum import StrEnum


class DeadReason(StrEnum):
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    TTL_EXPIRED = "ttl_expired"

    def __str__(self) -> str:
        return str(self.value)
