from enum import StrEnum


class WorkerStatus(StrEnum):
    APPROVED = "approved"
    PENDING = "pending"
    REJECTED = "rejected"
    REVOKED = "revoked"

    def __str__(self) -> str:
        return str(self.value)
