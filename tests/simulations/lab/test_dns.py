import dns.message
import dns.rcode
import pytest

from simulations.lab.dns import answer

HOSTS = """127.0.0.1 localhost
45.1.0.2 one.example relay.one.example
2a0e:1::2 one.example
"""


@pytest.mark.parametrize(
    ("name", "kind", "addresses"),
    [
        ("one.example", "A", ["45.1.0.2"]),
        ("ONE.example", "A", ["45.1.0.2"]),
        ("one.example", "AAAA", ["2a0e:1::2"]),
        ("relay.one.example", "A", ["45.1.0.2"]),
        ("relay.one.example", "AAAA", []),
        ("_xmpp-server._tcp.one.example", "SRV", []),
        ("two.example", "A", []),
    ],
)
def test_answers_come_from_the_hosts_file(name: str, kind: str, addresses: list[str]) -> None:
    query = dns.message.make_query(name, kind)
    response = answer(query, HOSTS)
    assert response.id == query.id
    assert response.rcode() == dns.rcode.NOERROR
    assert [str(item) for rrset in response.answer for item in rrset] == addresses
