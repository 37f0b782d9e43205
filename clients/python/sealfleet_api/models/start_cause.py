from enum import StrEnum


class StartCause(StrEnum):
    CONFIGURATION = "configuration"
    IMAGE_MISSING = "image_missing"
    IMAGE_UNUSABLE = "image_unusable"
    REGISTRY_DENIED = "registry_denied"
    SECRET_DENIED = "secret_denied"
    SECRET_KEY_MISSING = "secret_key_missing"
    SECRET_MISSING = "secret_missing"
    SECRET_UNREADABLE = "secret_unreadable"

    def __str__(self) -> str:
        return str(self.value)
