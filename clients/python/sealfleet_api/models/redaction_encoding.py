from enum import StrEnum


class RedactionEncoding(StrEnum):
    BASE64 = "base64"
    BASE64_WRAPPED = "base64_wrapped"
    HEX = "hex"
    JSON = "json"
    LINE = "line"
    LITERAL = "literal"
    NEWLINES = "newlines"
    PART = "part"
    PERCENT = "percent"
    RAW = "raw"
    SHELL = "shell"
    UTF16 = "utf16"
    XML = "xml"

    def __str__(self) -> str:
        return str(self.value)
