from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.model_answer_sums import ModelAnswerSums
    from ..models.model_answers import ModelAnswers


T = TypeVar("T", bound="ModelsUsed")


@_attrs_define
class ModelsUsed:
    """What a step's egress proxy read in the answers of models: `limits::EGRESS_MODELS` rows at most.

    Attributes:
        others (ModelAnswerSums | Unset): Tokens of some answers of models, as the models' APIs said in them.
        rows (list[ModelAnswers] | Unset): By provider and model, each once.
        unread (int | Unset): Answers of models that say no usage, or not in a way that the proxy can read.
    """

    others: ModelAnswerSums | Unset = UNSET
    rows: list[ModelAnswers] | Unset = UNSET
    unread: int | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        others: dict[str, Any] | Unset = UNSET
        if not isinstance(self.others, Unset):
            others = self.others.to_dict()

        rows: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.rows, Unset):
            rows = []
            for rows_item_data in self.rows:
                rows_item = rows_item_data.to_dict()
                rows.append(rows_item)

        unread = self.unread

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if others is not UNSET:
            field_dict["others"] = others
        if rows is not UNSET:
            field_dict["rows"] = rows
        if unread is not UNSET:
            field_dict["unread"] = unread

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.model_answer_sums import ModelAnswerSums
        from ..models.model_answers import ModelAnswers

        d = dict(src_dict)
        _others = d.pop("others", UNSET)
        others: ModelAnswerSums | Unset
        if isinstance(_others, Unset):
            others = UNSET
        else:
            others = ModelAnswerSums.from_dict(_others)

        _rows = d.pop("rows", UNSET)
        rows: list[ModelAnswers] | Unset = UNSET
        if _rows is not UNSET:
            rows = []
            for rows_item_data in _rows:
                rows_item = ModelAnswers.from_dict(rows_item_data)

                rows.append(rows_item)

        unread = d.pop("unread", UNSET)

        models_used = cls(
            others=others,
            rows=rows,
            unread=unread,
        )

        return models_used
