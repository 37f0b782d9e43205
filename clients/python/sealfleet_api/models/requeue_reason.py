from enum import StrEnum


class RequeueReason(StrEnum):
    HOST_FAILED = "host_failed"
    IMAGE_TIMEOUT = "image_timeout"
    LEASE_EXPIRED = "lease_expired"
    NETWORK_TIMEOUT = "network_timeout"
    NO_CAPACITY = "no_capacity"
    ROLE_NOT_READY = "role_not_ready"
    SANDBOX_LOST = "sandbox_lost"
    THROTTLED = "throttled"
    WORKER_REVOKED = "worker_revoked"

    def __str__(self) -> str:
        return str(self.value)
