from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="ClaimStep")


@_attrs_define
class ClaimStep:
    """The step to claim.

    Attributes:
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
        passed_on_until (datetime.datetime | None | Unset): As the queue message says it, if it does: until when the
            hint is passed on to other workers.
    """

    run_id: str
    step_id: str
    passed_on_until: datetime.datetime | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        run_id = self.run_id

        step_id = self.step_id

        passed_on_until: None | str | Unset
        if isinstance(self.passed_on_until, Unset):
            passed_on_until = UNSET
        elif isinstance(self.passed_on_until, datetime.datetime):
            passed_on_until = self.passed_on_until.isoformat()
        else:
            passed_on_until = self.passed_on_until

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "run_id": run_id,
                "step_id": step_id,
            }
        )
        if passed_on_until is not UNSET:
            field_dict["passed_on_until"] = passed_on_until

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        run_id = d.pop("run_id")

        step_id = d.pop("step_id")

        def _parse_passed_on_until(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                passed_on_until_type_0 = datetime.datetime.fromisoformat(data)

                return passed_on_until_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        passed_on_until = _parse_passed_on_until(d.pop("passed_on_until", UNSET))

        claim_step = cls(
            run_id=run_id,
            step_id=step_id,
            passed_on_until=passed_on_until,
        )

        return claim_step
