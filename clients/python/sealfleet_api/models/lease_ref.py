from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="LeaseRef")


@_attrs_define
class LeaseRef:
    """One claim, as its holder names it.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
    """

    fence: int
    run_id: str
    step_id: str

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        run_id = self.run_id

        step_id = self.step_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "fence": fence,
                "run_id": run_id,
                "step_id": step_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        fence = d.pop("fence")

        run_id = d.pop("run_id")

        step_id = d.pop("step_id")

        lease_ref = cls(
            fence=fence,
            run_id=run_id,
            step_id=step_id,
        )

        return lease_ref
