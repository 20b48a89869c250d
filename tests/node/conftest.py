from collections.abc import Iterator
from pathlib import Path

import pytest

from node.settings import RunSettings
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


@pytest.fixture
def node_settings(prosody: Prosody, tmp_path: Path) -> RunSettings:
    """A node with an account, in a laboratory."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    return RunSettings(
        jid=f"relay@{DOMAIN}",
        password_file=password,
        xmpp_host=f"127.0.0.1:{prosody.c2s_port}",
        port=0,
        state_dir=tmp_path / "state",
        public_address="127.0.0.1",
        allow_private_peers=True,
        status_address="127.0.0.1:0",
        turn_port="off",
    )
