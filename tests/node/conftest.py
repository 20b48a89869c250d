from collections.abc import Iterator

import pytest

from node.xmpp import Account, ComponentAccount
from tests.node.prosody import COMPONENT, DOMAIN, PASSWORD, SECRET, Prosody


@pytest.fixture(scope="session")
def prosody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody]:
    server = Prosody(tmp_path_factory.mktemp("prosody"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def romeo(prosody: Prosody) -> Account:
    return Account(f"romeo@{DOMAIN}", PASSWORD, ("127.0.0.1", prosody.c2s_port))


@pytest.fixture
def relay_account(prosody: Prosody) -> Account:
    return Account(f"relay@{DOMAIN}/node", PASSWORD, ("127.0.0.1", prosody.c2s_port))


@pytest.fixture
def component(prosody: Prosody) -> ComponentAccount:
    return ComponentAccount(COMPONENT, SECRET, "127.0.0.1", prosody.component_port)
