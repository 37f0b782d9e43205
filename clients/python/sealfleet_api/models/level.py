from enum import StrEnum


class Level(StrEnum):
    PROJECT = "project"
    RUN = "run"
    SYSTEM = "system"
    WORKFLOW = "workflow"

    def __str__(self) -> str:
        return str(self.value)
