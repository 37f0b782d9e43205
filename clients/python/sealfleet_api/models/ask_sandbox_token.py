from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="AskSandboxToken")


@_attrs_define
class AskSandboxToken:
    """A sandbox's wish for a token that names the step which it was launched for.

    Attributes:
        audience (str): Who an identity token is for: the `aud` of a JWT.
        fence (int): The number of a claim. Only the newest claim of a step counts.
        project (str): The name of a project, which is a tenant. Never `system`.
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
    """

    audience: str
    fence: int
    project: str
    run_id: str
    step_id: str

    def to_dict(self) -> dict[str, Any]:
        audience = self.audience

        fence = self.fence

        project = self.project

        run_id = self.run_id

        step_id = self.step_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "audience": audience,
                "fence": fence,
                "project": project,
                "run_id": run_id,
                "step_id": step_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        audience = d.pop("audience")

        fence = d.pop("fence")

        project = d.pop("project")

        run_id = d.pop("run_id")

        step_id = d.pop("step_id")

        ask_sandbox_token = cls(
            audience=audience,
            fence=fence,
            project=project,
            run_id=run_id,
            step_id=step_id,
        )

        return ask_sandbox_token
