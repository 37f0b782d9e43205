from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.lease_ref import LeaseRef
    from ..models.sandboxes import Sandboxes
    from ..models.step_denials import StepDenials


T = TypeVar("T", bound="Heartbeat")


@_attrs_define
class Heartbeat:
    """All claims that a worker still holds.

    Attributes:
        egress_denied (list[StepDenials] | Unset): Which hosts steps were kept from since it was last told, one for each
            of `leases` at most.
        leases (list[LeaseRef] | Unset):
        sandboxes (None | Sandboxes | Unset): The sandboxes that the worker has. Absent: as it told before.
        version (str | Unset): The version of the worker's program, for people who look at the worker.
    """

    egress_denied: list[StepDenials] | Unset = UNSET
    leases: list[LeaseRef] | Unset = UNSET
    sandboxes: None | Sandboxes | Unset = UNSET
    version: str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.sandboxes import Sandboxes

        egress_denied: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.egress_denied, Unset):
            egress_denied = []
            for egress_denied_item_data in self.egress_denied:
                egress_denied_item = egress_denied_item_data.to_dict()
                egress_denied.append(egress_denied_item)

        leases: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.leases, Unset):
            leases = []
            for leases_item_data in self.leases:
                leases_item = leases_item_data.to_dict()
                leases.append(leases_item)

        sandboxes: dict[str, Any] | None | Unset
        if isinstance(self.sandboxes, Unset):
            sandboxes = UNSET
        elif isinstance(self.sandboxes, Sandboxes):
            sandboxes = self.sandboxes.to_dict()
        else:
            sandboxes = self.sandboxes

        version = self.version

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if egress_denied is not UNSET:
            field_dict["egress_denied"] = egress_denied
        if leases is not UNSET:
            field_dict["leases"] = leases
        if sandboxes is not UNSET:
            field_dict["sandboxes"] = sandboxes
        if version is not UNSET:
            field_dict["version"] = version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.lease_ref import LeaseRef
        from ..models.sandboxes import Sandboxes
        from ..models.step_denials import StepDenials

        d = dict(src_dict)
        _egress_denied = d.pop("egress_denied", UNSET)
        egress_denied: list[StepDenials] | Unset = UNSET
        if _egress_denied is not UNSET:
            egress_denied = []
            for egress_denied_item_data in _egress_denied:
                egress_denied_item = StepDenials.from_dict(egress_denied_item_data)

                egress_denied.append(egress_denied_item)

        _leases = d.pop("leases", UNSET)
        leases: list[LeaseRef] | Unset = UNSET
        if _leases is not UNSET:
            leases = []
            for leases_item_data in _leases:
                leases_item = LeaseRef.from_dict(leases_item_data)

                leases.append(leases_item)

        def _parse_sandboxes(data: object) -> None | Sandboxes | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                sandboxes_type_0 = Sandboxes.from_dict(data)

                return sandboxes_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Sandboxes | Unset, data)

        sandboxes = _parse_sandboxes(d.pop("sandboxes", UNSET))

        version = d.pop("version", UNSET)

        heartbeat = cls(
            egress_denied=egress_denied,
            leases=leases,
            sandboxes=sandboxes,
            version=version,
        )

        return heartbeat
