from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.egress_denials import EgressDenials


T = TypeVar("T", bound="StepDenials")


@_attrs_define
class StepDenials:
    """Which hosts one step was kept from, while it runs.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        hosts (EgressDenials): What a proxy has refused in a while: `limits::EGRESS_ROWS` rows at most.
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
    """

    fence: int
    hosts: EgressDenials
    run_id: str
    step_id: str

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        hosts = self.hosts.to_dict()

        run_id = self.run_id

        step_id = self.step_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "fence": fence,
                "hosts": hosts,
                "run_id": run_id,
                "step_id": step_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.egress_denials import EgressDenials

        d = dict(src_dict)
        fence = d.pop("fence")

        hosts = EgressDenials.from_dict(d.pop("hosts"))

        run_id = d.pop("run_id")

        step_id = d.pop("step_id")

        step_denials = cls(
            fence=fence,
            hosts=hosts,
            run_id=run_id,
            step_id=step_id,
        )

        return step_denials
