import io
import json

import pytest
from rich.console import Console

from simulations.lab.bench.bench import RELAYS, WHAT, parse_names
from simulations.lab.bench.contenders import COTURN, KERNEL, OURS, RTPENGINE
from simulations.lab.bench.cost import CAPACITY, DIRECT, FRAMED, LOCAL, Costs, Setting, make_plan
from simulations.lab.bench.promises import Promise, cost_promises
from simulations.lab.bench.report import as_document, as_tables

ONE_AT_A_TIME = Setting(172, 100, 1)


def measured() -> Costs:
    costs = Costs(memory=dict.fromkeys((OURS, COTURN, RTPENGINE), 8192.0))
    times = {LOCAL: 4.0, DIRECT: 5.0, FRAMED: 6.0, OURS: 13.0, COTURN: 16.0, RTPENGINE: 20.0}
    for path, time in times.items():
        costs.rounds[path] = {
            setting: [time, time + 1, time + 2] for setting in (CAPACITY, ONE_AT_A_TIME)
        }
    costs.failed.add((RTPENGINE, CAPACITY))
    return costs


def test_a_cost_is_what_is_added_to_the_path_with_the_same_framing() -> None:
    costs = measured()
    assert costs.cost(OURS, CAPACITY) == [8, 8, 8]
    assert costs.cost(COTURN, CAPACITY) == [10, 10, 10]
    ratio = costs.ratio(OURS, CAPACITY)
    assert ratio is not None
    assert ratio.median == 0.8
    assert costs.calls(OURS) == round(1e6 / (9 * 100))  # all but what the ends do themselves
    assert costs.calls(RTPENGINE) is None


def test_without_coturn_there_are_no_ratios() -> None:
    costs = measured()
    del costs.rounds[COTURN]
    assert costs.ratio(OURS, CAPACITY) is None
    assert cost_promises(costs) == []


def test_the_tables_show_each_relay_and_what_it_lost() -> None:
    costs = measured()
    promises = [*cost_promises(costs), Promise("packets lost", 3.0, 0.0, digits=0)]
    text = as_tables(costs, promises, Console(file=io.StringIO()))
    assert "8.0 (8.0-8.0) 0.80 x" in text
    assert "10.0 (10.0-10.0)" in text
    [row] = [line for line in text.splitlines() if line.split()[:3] == ["172", "100", "100"]]
    assert row.endswith("-")
    assert [line.split()[-1] for line in text.splitlines() if "packets lost" in line] == ["KEPT"]
    assert "NOT KEPT" in text
    assert "1,111" in text


def test_the_document_is_json_and_holds_what_was_measured() -> None:
    costs = measured()
    facts = {"namespaces": True}
    document = json.loads(json.dumps(as_document(costs, cost_promises(costs), ["x"], facts)))
    assert document["missing"] == ["x"]
    assert document["namespaces"]
    found = {
        (entry["relay"], entry["window"]): (entry["us"]["median"], entry["against_coturn"])
        for entry in document["cost"]
    }
    assert found[OURS, 100] == (8, {"median": 0.8, "low": 0.8, "high": 0.8})
    assert (RTPENGINE, 100) not in found
    assert {promise["kept"] for promise in document["promises"]} == {True}


def test_plans() -> None:
    whole = make_plan(quick=False, rounds=2)
    assert (whole.channels, len(whole.settings)) == (1000, 12)
    assert CAPACITY in whole.settings
    assert set(make_plan(quick=True, rounds=1).settings) == {CAPACITY, ONE_AT_A_TIME}


def test_names_come_in_their_own_order() -> None:
    assert parse_names(" kernel,ours", RELAYS) == [OURS, KERNEL]
    for wrong in ("", " , ", "ours,theirs"):
        with pytest.raises(ValueError, match="none of ours, coturn, rtpengine, kernel"):
            parse_names(wrong, RELAYS)
    assert set(parse_names(",".join(WHAT), WHAT)) == set(WHAT)
