from enum import StrEnum


class RedactionStream(StrEnum):
    ARTIFACT = "artifact"
    RESULT = "result"
    STDERR = "stderr"
    STDOUT = "stdout"

    def __str__(self) -> str:
        return str(self.value)
