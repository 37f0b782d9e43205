from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="AskIdentityToken")


@_attrs_define
class AskIdentityToken:
    """A worker's wish for a token that names a step which it holds.

    Attributes:
        audience (str): Who an identity token is for: the `aud` of a JWT.
        fence (int): The number of a claim. Only the newest claim of a step counts.
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
    """

    audience: str
    fence: int
    run_id: str
    step_id: str

    def to_dict(self) -> dict[str, Any]:
        audience = self.audience

        fence = self.fence

        run_id = self.run_id

        step_id = self.step_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "audience": audience,
                "fence": fence,
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

        run_id = d.pop("run_id")

        step_id = d.pop("step_id")

        ask_identity_token = cls(
            audience=audience,
            fence=fence,
            run_id=run_id,
            step_id=step_id,
        )

        return ask_identity_token
