"""Plain rows of anybody, by `traffic.columns`."""

from __future__ import annotations

from collections.abc import Iterator

from flywheel.records import Row
from flywheel.records.rows import target_text
from flywheel.records.traffic import Found, Opinion
from flywheel.traffic.importer import Importer, NotOfFormat
from flywheel.traffic.messages import as_exchange, grade, moment


class Rows(Importer):
    name = "rows"
    about = "plain rows, as `traffic.columns` says"

    def sees(self, item: Row) -> bool:
        return self.columns.answer in item

    def found(self, item: Row) -> Iterator[Found]:
        columns = self.columns
        if columns.answer not in item:
            raise NotOfFormat(f'no column "{columns.answer}", which holds the answer as traffic.columns says')
        own = {name for name in columns.model_dump().values() if name is not None}
        answer = item[columns.answer]
        yield as_exchange(
            self._text(item, columns.id),
            item.get(columns.prompt) if columns.prompt else None,
            None if answer is None else {"role": "assistant", "content": target_text(answer)},
            conversation=self._text(item, columns.conversation),
            row={name: value for name, value in item.items() if name not in own},
            model=self._text(item, columns.model),
            at=moment(item.get(columns.at)) if columns.at else None,
            feedback=tuple(self._opinions(item)),
        )

    def _opinions(self, item: Row) -> Iterator[Opinion]:
        """Of its own row: it gets the row's id."""
        columns = self.columns
        rating = grade(item.get(columns.rating)) if columns.rating else None
        correction = self._text(item, columns.correction) or None
        if rating is not None or correction is not None:
            yield Opinion("", "", rating=rating, correction=correction)

    def _text(self, item: Row, column: str | None) -> str:
        value = item.get(column) if column else None
        return "" if value is None else target_text(value)
