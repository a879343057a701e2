"""``minimoto_watchdog.py`` as a user starts it, against the embedded AWS."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from deployed_script import Deployed

from minimoto import config as settings
from minimoto.aws.clients import client
from minimoto.core.node import NodeReport, NodeState


def test_status_is_printed_byte_for_byte(deployed: Deployed) -> None:
    assert deployed("--status") == (0, "average utilisation: -\nqueue length: 0\n", "")
    busy, quiet, stopped, new = (deployed.cloud.fleet.launch(1, token).ids[0] for token in "abcd")
    deployed.set_cpu(busy, 79.6)
    deployed.set_cpu(quiet, 20.4)
    deployed.stop(stopped)
    deployed.cloud.queue.send(["one", "two", "three"])
    assert len(deployed.cloud.queue.receive(1)) == 1
    deployed.cloud.queue.send(["later"], delay=60)
    order = [machine.id for machine in deployed.cloud.fleet.instances()]
    lines = {
        busy: f"instance: {busy} running 80%",
        quiet: f"instance: {quiet} running 20%",
        stopped: f"instance: {stopped} stopped -",
        new: f"instance: {new} running -",
    }
    expected = "".join(f"{lines[id]}\n" for id in order) + "average utilisation: 50%\nqueue length: 3\n"
    assert deployed("--status") == (0, expected, "")
    status, out, err = deployed("--status", "--json")
    document = json.loads(out)
    assert (status, err, document["average_utilisation"], document["queue_length"]) == (0, "", 50.0, 3)
    assert (document["visible"], document["in_flight"], document["delayed"]) == (2, 1, 1)
    assert {each["id"]: each["state"] for each in document["instances"]}[stopped] == "stopped"


def test_status_goes_on_without_what_cannot_be_seen(deployed: Deployed) -> None:
    id = deployed.cloud.fleet.launch(1, "a").ids[0]
    lost = deployed.cloud.config.queue_url + "-gone"
    status, out, err = deployed("--status", MINIMOTO_SQS_QUEUE_URL=lost)
    assert (status, out) == (1, f"instance: {id} running -\naverage utilisation: -\nqueue length: -\n")
    assert err.startswith("problem: ")
    assert err.count("\n") == 1


def test_status_names_a_machine_that_took_itself_out(deployed: Deployed) -> None:
    well, bad = (deployed.cloud.fleet.launch(1, token).ids[0] for token in "ab")
    for id, state in ((well, NodeState.READY), (bad, NodeState.FENCED), ("i-gone", NodeState.FENCED)):
        deployed.cloud.nodes.beat(NodeReport(id, 0, state, time.time()))
    _, out, _ = deployed("--status")
    assert out.splitlines()[-1] == f"fenced: {bad} took itself out after failing task after task"
    assert out.count("fenced:") == 1
    document = json.loads(deployed("--status", "--json")[1])
    assert {each["id"]: each["fenced"] for each in document["instances"]} == {well: False, bad: True}


def test_passes_and_their_explanations(deployed: Deployed) -> None:
    assert deployed("--explain")[0] == 1
    status, out, err = deployed()
    assert (status, err) == (0, "")
    id = deployed.cloud.fleet.instances()[0].id
    launched = f"launched 1 node (on-demand g5.xlarge in us-east-1a: {id})"
    assert out == (f"at least 1 node, there are 0\n{launched}\n")
    deployed.cloud.nodes.beat(NodeReport(id, 0, NodeState.READY, time.time()))
    assert deployed() == (0, "1 node: enough for an empty queue\n", "")
    status, out, _ = deployed("--explain")
    assert status == 0
    assert "reason: 1 node: enough for an empty queue\n" in out
    assert "seen: 0 waiting, 0 in flight, 0 delayed, " in out
    assert "nodes: 1 idle" in out
    assert "did: nothing\n" in out
    status, out, _ = deployed("--explain", "--since", "1h")
    rules = [line.split()[3] for line in out.splitlines() if not line.startswith(" ")]
    assert rules == ["min:", "steady:"]
    assert f"    {launched}" in out
    assert [each["rule"] for each in json.loads(deployed("--explain", "--since", "1h", "--json")[1])] == [
        "min",
        "steady",
    ]
    metrics = client(deployed.cloud.session, deployed.cloud.config, "cloudwatch").list_metrics(
        Namespace="DeepStyleQueue"
    )
    assert "NumJobsReadyOrBeingProcessed" in {metric["MetricName"] for metric in metrics["Metrics"]}
    log = (deployed.folder / "minimoto.log").read_text("utf-8").splitlines()
    assert log[-1].endswith("minimoto_watchdog.py --explain --since 1h --json -> ok")


def test_the_size_by_hand(deployed: Deployed) -> None:
    status, out, err = deployed("--scale_to=3")
    assert (status, err) == (0, "")
    assert out.startswith("the size is set by hand to 3 (--scale_to=auto ends that)\nlaunched 3 nodes (")
    status, out, err = deployed("--scale_to=99")
    assert (status, err) == (0, "--scale_to=99: 4 nodes at most ([FLEET] max_nodes), so 4\n")
    assert len(deployed.cloud.fleet.instances()) == 4
    assert "by hand to 4" in deployed()[1]
    for id in (machine.id for machine in deployed.cloud.fleet.instances()):
        deployed.cloud.nodes.beat(NodeReport(id, 0, NodeState.READY, time.time()))
    status, out, err = deployed("--scale-to", "1")
    assert out.count("\ndraining i-") == 3
    assert deployed("--scale_to=auto")[1].startswith("1 node: enough")
    for wrong in ("-1", "many", "1.5", ""):
        status, out, err = deployed(f"--scale_to={wrong}")
        assert (status, out) == (2, "")
        assert err == f"minimoto_watchdog.py: --scale_to={wrong}: a number of nodes, or auto, is expected\n"


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["--since", "1h"], {}, "--since belongs to --explain"),
        (["--explain", "--since", "soon"], {}, "--since soon: a time such as 30m, 1h or 2d is expected"),
        (["--watch"], {}, "--watch draws on a terminal; --status and --status --json print"),
        (["--policy", "clasic"], {}, "[FLEET] policy is 'clasic'; there are: asg, classic, target"),
        (
            ["--keep-failed"],
            {"MINIMOTO_FLEET_POLICY": "asg"},
            "--keep-failed: setup lets a watchdog take machines out of its Auto Scaling group: set [FLEET] keep_failed",
        ),
        ([], {"MINIMOTO_FLEET_MIN_NODES": "9"}, "[FLEET] min_nodes is 9 and max_nodes 4: 0 ≤ min ≤ max"),
        (["--status"], {"MINIMOTO_CONFIG": "/none.ini"}, "/none.ini: no such file; run minimoto_setup.py first"),
    ],
)
def test_what_is_wrong_gets_one_line(deployed: Deployed, arguments: list[str], environ: Any, says: str) -> None:
    status, out, err = deployed(*arguments, **environ)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"minimoto_watchdog.py: {says}")


def test_a_pass_that_can_do_nothing_says_so_in_one_line(deployed: Deployed) -> None:
    status, out, err = deployed(MINIMOTO_DYNAMODB_TABLE="no-such-table")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "no-such-table" in err


def test_the_loop_ends_with_its_pass_on_sigterm(deployed: Deployed) -> None:
    process = deployed.start("--loop", "0.2")
    assert process.stdout is not None
    assert process.stdout.readline() == "at least 1 node, there are 0\n"
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert deployed.cloud.ledger.begin_pass("next", time.time(), 1), "the lease of the last pass was not given back"


def test_the_loop_goes_on_with_the_settings_that_setup_brings(deployed: Deployed) -> None:
    process = deployed.start("--loop", "0.1")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "at least 1 node, there are 0\n"
    settings.save(replace(deployed.cloud.config, min_nodes=9), deployed.file)
    assert process.stderr.readline() == (
        "problem: [FLEET] min_nodes is 9 and max_nodes 4: 0 ≤ min ≤ max: the settings from before are kept\n"
    )
    settings.save(replace(deployed.cloud.config, min_nodes=2), deployed.file)
    assert process.stderr.readline() == "the settings have changed: the watchdog goes on with the new ones\n"
    assert "at least 2 nodes, there are 1\n" in iter(process.stdout.readline, "")
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert len(deployed.cloud.fleet.instances()) == 2
