from enum import StrEnum


class CreatePoolPullBackendType1(StrEnum):
    BUBBLEWRAP = "bubblewrap"
    DOCKER = "docker"

    def __str__(self) -> str:
        return str(self.value)
