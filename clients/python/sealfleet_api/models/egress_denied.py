from enum import StrEnum


class EgressDenied(StrEnum):
    ADDRESS = "address"
    CREDENTIAL_MISMATCH = "credential_mismatch"
    CREDENTIAL_WITHDRAWN = "credential_withdrawn"
    NO_METHOD = "no_method"
    NO_PATH = "no_path"
    NO_RULE = "no_rule"
    SNI = "sni"

    def __str__(self) -> str:
        return str(self.value)
