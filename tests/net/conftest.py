"""Both receiving paths, our own and the library's, behind the same tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import node


@pytest.fixture(params=["fast", pytest.param("stock", marks=pytest.mark.slow)], scope="module")
def receiving_path(request: pytest.FixtureRequest) -> Iterator[str]:
    """The path that `tests.fakes.node.receiving_node` takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "fast_receive", request.param == "fast")
        yield request.param
