from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.delivery_kind import DeliveryKind
from ..types import UNSET, Unset

T = TypeVar("T", bound="SandboxLease")


@_attrs_define
class SandboxLease:
    """The claim that a sandbox was launched for, as the sandbox names it.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        project (str): The name of a project, which is a tenant. Never `system`.
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
        delivery (DeliveryKind | None | Unset): The strictest way in which its `sealfleet-init` delivers secrets; it has
            those before it, too. A step that needs a stricter one is not told. Absent: in the environment alone.
        egress (bool | Unset): Whether its `sealfleet-init` holds a step to an egress policy. A step that has one is
            told to no other.
        from_ (int | Unset): How many of its inputs have come; the answer names those after them.
    """

    fence: int
    project: str
    run_id: str
    step_id: str
    delivery: DeliveryKind | None | Unset = UNSET
    egress: bool | Unset = UNSET
    from_: int | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        project = self.project

        run_id = self.run_id

        step_id = self.step_id

        delivery: None | str | Unset
        if isinstance(self.delivery, Unset):
            delivery = UNSET
        elif isinstance(self.delivery, DeliveryKind):
            delivery = self.delivery.value
        else:
            delivery = self.delivery

        egress = self.egress

        from_ = self.from_

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "fence": fence,
                "project": project,
                "run_id": run_id,
                "step_id": step_id,
            }
        )
        if delivery is not UNSET:
            field_dict["delivery"] = delivery
        if egress is not UNSET:
            field_dict["egress"] = egress
        if from_ is not UNSET:
            field_dict["from"] = from_

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        fence = d.pop("fence")

        project = d.pop("project")

        run_id = d.pop("run_id")

        step_id = d.pop("step_id")

        def _parse_delivery(data: object) -> DeliveryKind | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                delivery_type_0 = DeliveryKind(data)

                return delivery_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DeliveryKind | None | Unset, data)

        delivery = _parse_delivery(d.pop("delivery", UNSET))

        egress = d.pop("egress", UNSET)

        from_ = d.pop("from", UNSET)

        sandbox_lease = cls(
            fence=fence,
            project=project,
            run_id=run_id,
            step_id=step_id,
            delivery=delivery,
            egress=egress,
            from_=from_,
        )

        return sandbox_lease
