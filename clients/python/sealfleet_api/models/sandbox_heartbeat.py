from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.egress_denials import EgressDenials


T = TypeVar("T", bound="SandboxHeartbeat")


@_attrs_define
class SandboxHeartbeat:
    """What is told of a step that runs in a Fargate sandbox with an egress policy.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        project (str): The name of a project, which is a tenant. Never `system`.
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
        egress_denied (EgressDenials | Unset): What a proxy has refused in a while: `limits::EGRESS_ROWS` rows at most.
    """

    fence: int
    project: str
    run_id: str
    step_id: str
    egress_denied: EgressDenials | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        project = self.project

        run_id = self.run_id

        step_id = self.step_id

        egress_denied: dict[str, Any] | Unset = UNSET
        if not isinstance(self.egress_denied, Unset):
            egress_denied = self.egress_denied.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "fence": fence,
                "project": project,
                "run_id": run_id,
                "step_id": step_id,
            }
        )
        if egress_denied is not UNSET:
            field_dict["egress_denied"] = egress_denied

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.egress_denials import EgressDenials

        d = dict(src_dict)
        fence = d.pop("fence")

        project = d.pop("project")

        run_id = d.pop("run_id")

        step_id = d.pop("step_id")

        _egress_denied = d.pop("egress_denied", UNSET)
        egress_denied: EgressDenials | Unset
        if isinstance(_egress_denied, Unset):
            egress_denied = UNSET
        else:
            egress_denied = EgressDenials.from_dict(_egress_denied)

        sandbox_heartbeat = cls(
            fence=fence,
            project=project,
            run_id=run_id,
            step_id=step_id,
            egress_denied=egress_denied,
        )

        return sandbox_heartbeat
