from enum import StrEnum


class SandboxesBackendsItem(StrEnum):
    BUBBLEWRAP = "bubblewrap"
    DOCKER = "docker"

    def __str__(self) -> str:
        return str(self.value)
