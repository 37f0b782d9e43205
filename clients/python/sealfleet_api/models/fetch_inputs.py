from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="FetchInputs")


@_attrs_define
class FetchInputs:
    """A claim whose inputs are wanted.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
        from_ (int | Unset): How many there have been in the answers before. Default: 0.
    """

    fence: int
    run_id: str
    step_id: str
    from_: int | Unset = 0

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        run_id = self.run_id

        step_id = self.step_id

        from_ = self.from_

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "fence": fence,
                "run_id": run_id,
                "step_id": step_id,
            }
        )
        if from_ is not UNSET:
            field_dict["from"] = from_

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        fence = d.pop("fence")

        run_id = d.pop("run_id")

        step_id = d.pop("step_id")

        from_ = d.pop("from", UNSET)

        fetch_inputs = cls(
            fence=fence,
            run_id=run_id,
            step_id=step_id,
            from_=from_,
        )

        return fetch_inputs
