from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define

from ..models.create_pool_pull_backend_type_1 import CreatePoolPullBackendType1
from ..models.create_pool_pull_backend_type_2_type_1 import (
    CreatePoolPullBackendType2Type1,
)
from ..models.create_pool_pull_backend_type_3_type_1 import (
    CreatePoolPullBackendType3Type1,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="CreatePoolPull")


@_attrs_define
class CreatePoolPull:
    """Workers in the customer's network claim from this pool.

    Attributes:
        kind (Literal['pull']):
        backend (CreatePoolPullBackendType1 | CreatePoolPullBackendType2Type1 | CreatePoolPullBackendType3Type1 | None |
            Unset): The sandbox backend that runs its steps; they go to workers that have it. Absent: what each worker has.
    """

    kind: Literal["pull"]
    backend: (
        CreatePoolPullBackendType1
        | CreatePoolPullBackendType2Type1
        | CreatePoolPullBackendType3Type1
        | None
        | Unset
    ) = UNSET

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        backend: None | str | Unset
        if isinstance(self.backend, Unset):
            backend = UNSET
        elif (
            isinstance(self.backend, CreatePoolPullBackendType1)
            or isinstance(self.backend, CreatePoolPullBackendType2Type1)
            or isinstance(self.backend, CreatePoolPullBackendType3Type1)
        ):
            backend = self.backend.value
        else:
            backend = self.backend

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kind": kind,
            }
        )
        if backend is not UNSET:
            field_dict["backend"] = backend

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["pull"], d.pop("kind"))
        if kind != "pull":
            raise ValueError(f"kind must match const 'pull', got '{kind}'")

        def _parse_backend(
            data: object,
        ) -> (
            CreatePoolPullBackendType1
            | CreatePoolPullBackendType2Type1
            | CreatePoolPullBackendType3Type1
            | None
            | Unset
        ):
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                backend_type_1 = CreatePoolPullBackendType1(data)

                return backend_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, str):
                    raise TypeError()
                backend_type_2_type_1 = CreatePoolPullBackendType2Type1(data)

                return backend_type_2_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, str):
                    raise TypeError()
                backend_type_3_type_1 = CreatePoolPullBackendType3Type1(data)

                return backend_type_3_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(
                CreatePoolPullBackendType1
                | CreatePoolPullBackendType2Type1
                | CreatePoolPullBackendType3Type1
                | None
                | Unset,
                data,
            )

        backend = _parse_backend(d.pop("backend", UNSET))

        create_pool_pull = cls(
            kind=kind,
            backend=backend,
        )

        return create_pool_pull
