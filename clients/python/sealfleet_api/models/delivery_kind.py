from enum import StrEnum


class DeliveryKind(StrEnum):
    EGRESS = "egress"
    ENV = "env"
    FILE = "file"

    def __str__(self) -> str:
        return str(self.value)
