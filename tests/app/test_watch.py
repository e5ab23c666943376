"""Nodes that watch each other: who is dead, and who acts."""

from __future__ import annotations

from collections.abc import Collection

from osteoscribe.app.watch import Heartbeat, Watch


class Nodes:
    """Heartbeats as a test sets them, and what a watch made of them."""

    def __init__(self, *names: str) -> None:
        self.beats = dict.fromkeys(names, 0)
        self.executors: list[set[str]] = []
        self.fenced: list[set[str]] = []
        self.recorded_for: list[set[str]] = []

    def heartbeats(self) -> dict[str, Heartbeat]:
        return {
            name: Heartbeat(name=name, folder_id=name, store_id="s", workers=2, beats=beats)
            for name, beats in self.beats.items()
        }

    def fence(self, names: Collection[str]) -> None:
        self.fenced.append(set(names))

    def beat(self, *names: str) -> None:
        for name in names:
            self.beats[name] += 1

    def watch(self, name: str, looks: int = 3) -> Watch:
        def take_over(living: Collection[str]) -> int:
            self.executors.append(set(living))
            return 0

        def record_stored(dead: Collection[str]) -> int:
            self.recorded_for.append(set(dead))
            return 0

        return Watch(name=name, nodes=self, looks=looks, take_over=take_over, record_stored=record_stored)


def test_work_of_living_executors_is_left_to_them() -> None:
    nodes = Nodes("a", "b")
    nodes.watch("a").look()
    assert nodes.executors == [{"a/worker-0", "a/worker-1", "b/worker-0", "b/worker-1"}]
    assert nodes.recorded_for == []


def test_a_node_whose_beat_stands_still_is_dead_after_so_many_looks() -> None:
    nodes = Nodes("a", "b")
    watch = nodes.watch("a")
    for _ in range(3):
        watch.look()
    assert "b/worker-0" in nodes.executors[-1]
    watch.look()
    assert nodes.executors[-1] == {"a/worker-0", "a/worker-1"}
    assert nodes.fenced == nodes.recorded_for == [{"b"}]


def test_a_beat_in_time_is_life() -> None:
    nodes = Nodes("a", "b")
    watch = nodes.watch("a")
    for _ in range(10):
        watch.look()
        watch.look()
        nodes.beat("b")
    assert all("b/worker-0" in living for living in nodes.executors)


def test_a_node_that_comes_back_gets_its_work_back() -> None:
    nodes = Nodes("a", "b")
    watch = nodes.watch("a")
    for _ in range(5):
        watch.look()
    nodes.beat("b")
    watch.look()
    assert "b/worker-0" in nodes.executors[-1]


def test_only_the_first_that_lives_acts() -> None:
    nodes = Nodes("a", "b", "c")
    watch = nodes.watch("b")
    for _ in range(3):
        watch.look()
        nodes.beat("c")
    assert nodes.executors == []
    watch.look()
    assert nodes.executors == [{"b/worker-0", "b/worker-1", "c/worker-0", "c/worker-1"}]


def test_a_node_that_left_is_gone_at_once() -> None:
    nodes = Nodes("a", "b")
    watch = nodes.watch("a")
    watch.look()
    del nodes.beats["b"]
    watch.look()
    assert nodes.executors[-1] == {"a/worker-0", "a/worker-1"}


def test_where_the_ledger_cannot_be_shared_any_other_is_our_own_past() -> None:
    nodes = Nodes("former-host", "a")
    nodes.watch("a", looks=0).look()
    assert nodes.executors == [{"a/worker-0", "a/worker-1"}]
