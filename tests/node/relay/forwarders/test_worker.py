import subprocess
import sys


def test_the_process_imports_little() -> None:
    imports = "import node.relay.forwarders.worker, sys; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", imports], text=True).split()
    heavy = {"trio", "asyncio", "slixmpp", "cryptography", "overlay", "anyio", "ssl"}
    assert not heavy & {module.partition(".")[0] for module in modules}
