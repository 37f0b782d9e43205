from enum import StrEnum


class Unexplained(StrEnum):
    BEFORE_RELEASE = "before_release"
    FOREIGN_TASK = "foreign_task"
    IN_A_BATCH = "in_a_batch"
    LONG_AFTER_RELEASE = "long_after_release"
    NOT_AN_EXECUTION_ROLE = "not_an_execution_role"
    NOT_RELEASED = "not_released"
    OTHER_PROJECT = "other_project"
    OTHER_TASK = "other_task"
    UNKNOWN_TASK = "unknown_task"
    UNKNOWN_TOKEN = "unknown_token"
    VERSION_NOT_PINNED = "version_not_pinned"

    def __str__(self) -> str:
        return str(self.value)
