"""One loopback Hub and two clients for all tests of publishing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hub.clients import TOKENS, Client
from hub.loopback import LoopbackHub


@pytest.fixture(scope="session")
def _hub() -> Iterator[LoopbackHub]:
    hub = LoopbackHub(dict(TOKENS))
    yield hub
    hub.close()


@pytest.fixture
def hub(_hub: LoopbackHub) -> LoopbackHub:
    """The session's Hub without faults and notes. Repositories stay, so name yours after the test."""
    _hub.faults.clear()
    _hub.requests.clear()
    _hub.received.clear()
    return _hub


@pytest.fixture(scope="session")
def author(_hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Someone with this package."""
    client = Client(
        _hub.url, tmp_path_factory.mktemp("author") / "client", ["hf_ood.cli.train", "hf_ood.hub"]
    )
    yield client
    client.close()


@pytest.fixture(scope="session")
def stranger(_hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Someone without: a fresh virtual environment, in which importing `hf_ood` fails."""
    imports = ["datasets", "transformers", "transformers.pipelines", "torch"]
    client = Client(_hub.url, tmp_path_factory.mktemp("stranger") / "client", imports, blocked=["hf_ood"])
    yield client
    client.close()
