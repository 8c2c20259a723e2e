"""The whole API against sortedcontainers.SortedDict."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sortedcontainers import SortedDict

import lyredb

KEYS = st.one_of(st.binary(max_size=3), st.integers(0, 400).map(lambda at: b"%03d" % at))
VALUES = st.one_of(st.binary(max_size=20), st.integers(0, 3).map(lambda at: bytes([at]) * 3000))
NAMES = st.sampled_from(["default", "a", "b"])
MAYBE_KEY = st.none() | KEYS


def between(model: Any, start: Any, stop: Any, start_inclusive: bool, stop_inclusive: bool) -> list[Any]:
    if start is not None and stop is not None and start > stop:
        return []
    return list(model.irange(start, stop, (start_inclusive, stop_inclusive)))


def compare(family: Any, model: Any) -> None:
    assert list(family.scan()) == list(model.items())
    assert list(family.scan(reverse=True).keys()) == list(reversed(model))
    assert len(family) == len(model)
    assert bool(family) == bool(model)
    assert family.first() == (model.peekitem(0) if model else None)
    assert family.last() == (model.peekitem(-1) if model else None)


class Machine(RuleBasedStateMachine):
    """Families of bytes, a transaction and a snapshot at a time, reopening now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.models: dict[str, Any] = {name: SortedDict() for name in ("default", "a", "b")}
        self.transaction: Any = None
        self.snapshot: Any = None

    @initialize()
    def begin(self) -> None:
        self.open()

    def open(self) -> None:
        self.db: Any = lyredb.open(self.folder + "/db", leaf_bytes=1024, delta_records=2, blob_bytes=1024)
        for name in ("a", "b"):
            self.db.family(name)

    def teardown(self) -> None:
        self.db.close()
        shutil.rmtree(self.folder)

    # A transaction takes the place of the database as the target of all rules while it lasts.
    def family(self, name: str) -> Any:
        target = self.db if self.transaction is None else self.transaction
        return target if name == "default" else target.family(name)

    def model(self, name: str) -> Any:
        return (self.models if self.transaction is None else self.in_transaction)[name]

    @rule(name=NAMES, key=KEYS, value=VALUES)
    def put(self, name: str, key: bytes, value: bytes) -> None:
        self.family(name)[key] = value
        self.model(name)[key] = value

    @rule(name=NAMES, key=KEYS)
    def get(self, name: str, key: bytes) -> None:
        family, model = self.family(name), self.model(name)
        assert family.get(key) == model.get(key)
        assert (key in family) == (key in model)
        assert family.multi_get([key, b"", key]) == [model.get(key), model.get(b""), model.get(key)]

    @rule(name=NAMES, key=KEYS)
    def delete(self, name: str, key: bytes) -> None:
        assert self.family(name).delete(key) == (self.model(name).pop(key, None) is not None)

    @rule(name=NAMES, key=KEYS, value=VALUES)
    def setdefault_and_pop(self, name: str, key: bytes, value: bytes) -> None:
        family, model = self.family(name), self.model(name)
        assert family.setdefault(key, value) == model.setdefault(key, value)
        assert family.pop(key) == model.pop(key)
        assert family.pop(key, None) is None

    @rule(name=NAMES, index=st.integers(-3, 2))
    def popitem(self, name: str, index: int) -> None:
        family, model = self.family(name), self.model(name)
        if -len(model) <= index < len(model):
            assert family.peekitem(index) == model.peekitem(index)
            assert family.popitem(index=index) == model.popitem(index)
        else:
            with pytest.raises(KeyError):
                family.popitem(index=index)

    @rule(name=NAMES, pairs=st.lists(st.tuples(KEYS, VALUES), max_size=40))
    def write_batch(self, name: str, pairs: list[tuple[bytes, bytes]]) -> None:
        self.family(name).write_batch(pairs)
        self.model(name).update(pairs)

    @rule(name=NAMES, start=MAYBE_KEY, stop=MAYBE_KEY)
    def delete_range(self, name: str, start: bytes | None, stop: bytes | None) -> None:
        model = self.model(name)
        gone = between(model, start, stop, True, False)
        assert self.family(name).delete_range(start, stop) == len(gone)
        for key in gone:
            del model[key]

    @rule(
        name=NAMES,
        start=MAYBE_KEY,
        stop=MAYBE_KEY,
        reverse=st.booleans(),
        limit=st.none() | st.integers(0, 50),
        inclusive=st.tuples(st.booleans(), st.booleans()),
    )
    def scan(self, name: str, start: Any, stop: Any, reverse: bool, limit: Any, inclusive: tuple[bool, bool]) -> None:
        model = self.model(name)
        expected = between(model, start, stop, *inclusive)
        if reverse:
            expected.reverse()
        expected = expected[:limit]
        rows = self.family(name).scan(
            start, stop, reverse=reverse, limit=limit, start_inclusive=inclusive[0], stop_inclusive=inclusive[1]
        )
        assert rows.count() == len(expected)
        assert list(rows) == [(key, model[key]) for key in expected]
        assert list(rows.values()) == [model[key] for key in expected]
        assert rows.keys().to_arrow().column(0).to_pylist() == expected

    @rule(name=NAMES, prefix=st.binary(max_size=2))
    def prefix(self, name: str, prefix: bytes) -> None:
        expected = [key for key in self.model(name) if key.startswith(prefix)]
        assert list(self.family(name).scan(prefix=prefix).keys()) == expected

    @rule(name=NAMES, keys=st.lists(KEYS, max_size=4), reverse=st.booleans())
    def seek(self, name: str, keys: list[bytes], reverse: bool) -> None:
        model = self.model(name)
        rows = self.family(name).scan(reverse=reverse).keys()
        for key in keys:
            near = model.irange(maximum=key, reverse=True) if reverse else model.irange(key)
            assert next(rows.seek(key), None) == next(near, None)

    @precondition(lambda self: self.transaction is None)
    @rule(serializable=st.booleans())
    def begin_transaction(self, serializable: bool) -> None:
        self.transaction = self.db.transaction(serializable=serializable)
        self.in_transaction = {name: model.copy() for name, model in self.models.items()}
        self.savepoint: Any = None

    @precondition(lambda self: self.transaction is not None)
    @rule(commit=st.booleans())
    def end_transaction(self, commit: bool) -> None:
        if commit:
            self.transaction.commit()
            self.models = self.in_transaction
        else:
            self.transaction.rollback()
        self.transaction = None

    @precondition(lambda self: self.transaction is not None)
    @rule()
    def set_savepoint(self) -> None:
        self.savepoint = self.transaction.savepoint(), {name: m.copy() for name, m in self.in_transaction.items()}

    @precondition(lambda self: self.transaction is not None and self.savepoint is not None)
    @rule()
    def go_back(self) -> None:
        point, models = self.savepoint
        point.rollback()
        self.in_transaction = {name: model.copy() for name, model in models.items()}

    @precondition(lambda self: self.transaction is not None)
    @rule(name=NAMES, key=KEYS, value=VALUES)
    def conflict(self, name: str, key: bytes, value: bytes) -> None:
        """A write from outside makes the commit fail, and nothing of the transaction is seen."""
        self.family(name)[key] = b"mine"
        outside = self.db.family(name)
        outside[key] = value
        self.models[name][key] = value
        with pytest.raises(lyredb.ConflictError):
            self.transaction.commit()
        self.transaction = None

    @precondition(lambda self: self.snapshot is None)
    @rule()
    def take_snapshot(self) -> None:
        self.snapshot = self.db.snapshot()
        self.at_snapshot = {name: model.copy() for name, model in self.models.items()}

    @precondition(lambda self: self.snapshot is not None)
    @rule(name=NAMES, key=KEYS, close=st.booleans())
    def read_snapshot(self, name: str, key: bytes, close: bool) -> None:
        family = self.snapshot.family(name) if name != "default" else self.snapshot
        compare(family, self.at_snapshot[name])
        assert family.get(key) == self.at_snapshot[name].get(key)
        if close:
            self.snapshot.close()
            self.snapshot = None

    @precondition(lambda self: self.transaction is None)
    @rule(how=st.sampled_from(["close", "checkpoint", "compact", "drop"]))
    def maintain(self, how: str) -> None:
        if how == "drop":
            self.db.drop_family("b")
            self.db.family("b")
            self.models["b"] = SortedDict()
            if self.snapshot is not None:
                self.snapshot.close()
                self.snapshot = None
        elif how == "close":
            if self.snapshot is not None:
                self.snapshot.close()
                self.snapshot = None
            self.db.close()
            self.open()
        else:
            getattr(self.db, how)()

    @invariant()
    def same(self) -> None:
        if hasattr(self, "db"):
            for name in self.models:
                compare(self.family(name), self.model(name))


Machine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestMachine = Machine.TestCase


@pytest.mark.long
class TestMachineLong(Machine.TestCase):
    """The same for longer."""

    settings = settings(
        max_examples=1000, stateful_step_count=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
