from enum import StrEnum


class Cli(StrEnum):
    CLAUDE_CODE = "claude-code"
    CODEX = "codex"
    CUSTOM = "custom"
    GEMINI = "gemini"
    OPENCODE = "opencode"

    def __str__(self) -> str:
        return str(self.value)
