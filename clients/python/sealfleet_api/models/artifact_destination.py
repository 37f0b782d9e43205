from enum import StrEnum


class ArtifactDestination(StrEnum):
    LOCAL = "local"
    PROJECT = "project"

    def __str__(self) -> str:
        return str(self.value)
