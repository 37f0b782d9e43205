from enum import StrEnum


class PoolViewPullBackend(StrEnum):
    BUBBLEWRAP = "bubblewrap"
    DOCKER = "docker"

    def __str__(self) -> str:
        return str(self.value)
