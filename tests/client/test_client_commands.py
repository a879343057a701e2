"""The commands as a person starts them, on the embedded AWS: exit statuses, what is printed where, signals.

``run`` starts a real process; ``call`` does the same inside this one, where starting is not what is tested.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

import pytest

from minimoto.cli.entry import COMMANDS, build_parser, main
from minimoto.cli.submit import check_out
from minimoto.core.job import JobState
from minimoto.errors import InvalidInput
from minimoto.wiring import Cloud
from tests.client.commands import CLIENT, MINIMOTO, OUTPUT, at_work, lines
from tests.client.conftest import ROOT, MakeFolder, Run, Worker


def test_submitting_prints_where_the_output_will_be_and_nothing_else(
    run: Run, cloud: Cloud, folder: MakeFolder, environ: dict[str, str]
) -> None:
    done = run(*CLIENT, str(folder(3)))
    match = OUTPUT.fullmatch(done.stdout)
    assert match
    assert done.returncode == 0
    job = cloud.jobs.get(match[3])
    assert match[1] == f"s3://{cloud.config.bucket_output}/{job.id}/trip.mp4"
    assert (job.state, job.photos) == (JobState.READY_TO_PROCESS, 3)
    assert lines(done.stderr)[0].startswith("uploading 3 files, ")
    (line,) = lines((Path(environ["HOME"]) / "minimoto.log").read_text())
    assert re.fullmatch(r"\S+ minimoto_client\.py \S+/trip -> ok", line)


def test_the_buckets_may_be_named_as_the_assignment_has_it(run: Run, cloud: Cloud, folder: MakeFolder) -> None:
    buckets = (f"s3://{cloud.config.bucket_input}", cloud.config.bucket_output)
    assert OUTPUT.fullmatch(run(*CLIENT, str(folder(1)), *buckets).stdout)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["nowhere"], 2, "nowhere: there is no such folder"),
        (["."], 2, ".: no photo in this folder"),
        (["PHOTOS", "theirs", "theirs"], 2, "more_buckets"),
        (["PHOTOS", "gone", "gone"], 1, "bucket gone: there is no such bucket"),
        (["PHOTOS", "gone"], 2, "name both buckets"),
        (["PHOTOS", "--pipeline", "vidoe"], 2, "did you mean video"),
        (["PHOTOS", "--deadline", "soon"], 2, "write a duration"),
        (["PHOTOS", "--order", "given"], 2, "needs --list"),
        (["PHOTOS", "--order", "exif", "--list", "x"], 2, "--list says the order itself"),
        (["PHOTOS", "--list", "nowhere.txt"], 2, "nowhere.txt: cannot be read"),
        (["PHOTOS", "--out", "x"], 2, "--out goes with --wait"),
        (["PHOTOS", "--quote", "-1"], 2, "--quote -1"),
        (["PHOTOS", "--budget", "0"], 2, "--budget 0.0: US dollars"),
        (["PHOTOS", "--config", "nowhere.ini"], 2, "nowhere.ini"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_sent_is_one_line_on_stderr(
    call: Run, cloud: Cloud, folder: MakeFolder, environ: dict[str, str], arguments: list[str], status: int, says: str
) -> None:
    environ["MINIMOTO_S3_MORE_BUCKETS"] = "gone"
    photos = str(folder(1))
    done = call("submit", *(photos if a == "PHOTOS" else a for a in arguments))
    assert done.returncode == status
    assert done.stdout == ""
    (line,) = lines(done.stderr)
    assert line.startswith("minimoto: ")
    assert says in line
    assert cloud.jobs.recent() == []
    assert says in (Path(environ["HOME"]) / "minimoto.log").read_text()


def test_a_quote_sends_nothing(call: Run, cloud: Cloud, folder: MakeFolder) -> None:
    photos = str(folder(4))
    done = call(
        "submit", photos, "--quote", "0", "--deadline", "2h", "--budget", "1", "--pipeline", "style:ink | video"
    )
    assert done.returncode == 0, done.stderr
    assert "style: 1 x 12.0 s (known beforehand)" in done.stdout
    assert "video: 1 x 9.6 s (known beforehand)" in done.stdout
    for way in ("as fast as it can be", "within 5 min", "by the deadline", "for $1.00", "on one node"):
        assert f"\n{way} " in done.stdout
    assert done.stdout.endswith("An estimate: nothing was sent.\n")
    document = json.loads(call("submit", photos, "--quote", "0", "--json").stdout)
    assert (document["photos"], document["quote"]["on one node"]["nodes"]) == (4, 1)
    assert cloud.jobs.recent() == []
    assert cloud.queue.counts().visible == 0


def test_waiting_ends_with_the_film_in_your_folder(run: Run, cloud: Cloud, folder: MakeFolder, tmp_path: Path) -> None:
    with at_work(cloud, broken=("photo 2.jpg",)):
        done = run(*CLIENT, str(folder(3)), "--pipeline", "fit | video", "--wait", "--out", str(tmp_path / "films"))
    assert done.returncode == 0, done.stderr
    printed, film = lines(done.stdout)
    assert OUTPUT.fullmatch(printed + "\n")
    assert Path(film) == tmp_path / "films" / "trip.mp4"
    assert Path(film).read_bytes() == b"made of trip.mp4"
    told = lines(done.stderr)
    assert "left out: photo 2.jpg: the file is cut short" in told
    assert any(line.startswith("fit: done, 3 photos") for line in told)
    assert any(line.startswith("video: done, 2 photos") for line in told)


def test_a_result_that_cannot_be_written_is_not_lost(
    run: Run, cloud: Cloud, folder: MakeFolder, tmp_path: Path
) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "trip.mp4").write_bytes(b"another film")
    with at_work(cloud):
        done = run(*CLIENT, str(folder(1)), "--pipeline", "video", "--wait", "--out", str(tmp_path / "films"))
    assert done.returncode == 2
    job = cloud.jobs.recent()[0].id
    assert lines(done.stderr)[-2:] == [
        f"the job is done; its result can be had with: minimoto fetch {job} --out DIR",
        f"minimoto_client.py: {tmp_path}/films/trip.mp4: a different file is there; use --force or another --out",
    ]


def test_a_folder_for_results_is_looked_at_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "new" / "deep", Path("new")):
        check_out(folder)
    for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(InvalidInput, match=r"/file: this is a file; name a folder"):
            check_out(folder)
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(InvalidInput, match=rf"^{tmp_path}: nothing may be written there"):
        check_out(tmp_path / "new")


def test_json_is_one_document_and_nothing_else_on_stdout(
    run: Run, cloud: Cloud, folder: MakeFolder, tmp_path: Path
) -> None:
    with at_work(cloud, broken=("photo 2.jpg",)):
        done = run(*CLIENT, str(folder(3)), "--pipeline", "fit | video", "--wait", "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["state"] == "PROCESSING_SUCCESSFUL"
    assert document["results"] == [document["output"]]
    assert document["skipped"] == [{"name": "photo 2.jpg", "reason": "the file is cut short"}]
    assert document["fetched"] == [str(tmp_path / "trip.mp4")]
    assert (document["uploaded"], document["fraction"], document["eta_seconds"]) == (3, 1.0, 0.0)
    assert [(stage["step"], stage["done"]) for stage in document["stages"]] == [("fit", 3), ("video", 2)]
    bad = run(*CLIENT, "nowhere", "--json")
    assert json.loads(bad.stdout) == {"error": "nowhere: there is no such folder", "exit_status": 2}
    assert bad.returncode == 2


def test_a_failed_job_is_exit_1_with_its_reason(run: Run, cloud: Cloud, folder: MakeFolder) -> None:
    with at_work(cloud, reason="the encoder died"):
        done = run(*CLIENT, str(folder(1)), "--wait", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_status"] == 1
    assert document["state"] == "PROCESSING_FAILED"
    assert document["error"] == f"{document['job']}: failed: video: the encoder died"
    assert lines(done.stderr)[-1] == f"minimoto_client.py: {document['error']}"


def test_a_deadline_that_passes_is_exit_3_and_the_job_goes_on(run: Run, cloud: Cloud, folder: MakeFolder) -> None:
    done = run(*CLIENT, str(folder(1)), "--wait", "--deadline", "1s")
    assert done.returncode == 3
    (job,) = cloud.jobs.recent()
    assert job.state is JobState.READY_TO_PROCESS
    assert job.deadline is not None
    assert f"the job goes on. Come back with: minimoto status {job.id} --wait" in lines(done.stderr)[-1]


def test_a_list_from_stdin_says_the_order(run: Run, cloud: Cloud, folder: MakeFolder) -> None:
    from minimoto.core import manifest

    done = run(*CLIENT, str(folder(3)), "--list", "-", input="photo 3.jpg\nphoto 1.jpg\n")
    assert done.returncode == 0, done.stderr
    (job,) = cloud.jobs.recent()
    items = manifest.load_items(cloud.store.read(manifest.manifest(job)).decode())
    assert [item.original for item in items] == ["photo 3.jpg", "photo 1.jpg"]


def test_following_a_job(call: Run, cloud: Cloud, folder: MakeFolder) -> None:
    assert call("submit", str(folder(2)), "--owner", "ana@laptop").returncode == 0
    (job,) = cloud.jobs.recent()

    listed = call("list")
    assert (listed.returncode, listed.stdout) == (0, "")
    assert "--all shows those of everybody" in listed.stderr
    table = lines(call("list", "--all").stdout)
    assert table[0].split() == ["job", "state", "photos", "age", "owner", "pipeline"]
    assert re.fullmatch(rf"{job.id}  waiting in the queue  2 +\d+ s +ana@laptop  video", table[1])
    assert json.loads(call("list", "--all", "--json").stdout)["jobs"][0]["job"] == job.id

    status = call("status", "trip").stdout
    assert re.search(r"^state +waiting in the queue$", status, re.MULTILINE)
    assert json.loads(call("status", "trip", "--json").stdout)["stages"][0]["inputs"] == 2

    early = call("fetch", "trip")
    assert (early.returncode, early.stdout) == (1, "")
    assert "no result yet (waiting in the queue)" in early.stderr

    Worker(cloud).work()
    assert re.search(r"^state +done$", call("status", "trip").stdout, re.MULTILINE)
    assert call("fetch", "trip", "--out", "films").stdout == "films/trip.mp4\n"
    assert json.loads(call("fetch", "trip", "--json").stdout)["fetched"] == ["trip.mp4"]

    told = lines(call("history", "trip").stdout)
    assert told[0].split() == ["time", "what", "where", "detail"]
    events = [entry["what"] for entry in json.loads(call("history", "trip", "--json").stdout)["history"]]
    assert [line[21:].split("  ")[0] for line in told[1:]] == [event.replace("_", " ") for event in events]
    assert events[:3] == ["created", "ready", "stage_started"]
    assert set(events[3:]) == {"claimed", "processing", "done", "stage_finished", "successful"}

    late = call("cancel", "trip")
    assert (late.returncode, late.stdout) == (1, f"{job.id} had already ended: done\n")


def test_cancelling(call: Run, cloud: Cloud, folder: MakeFolder) -> None:
    call("submit", str(folder(1)))
    (job,) = cloud.jobs.recent()
    assert call("cancel", "trip").stdout == f"{job.id} is cancelled\n"
    assert cloud.jobs.get(job.id).state is JobState.CANCELLED
    again = call("cancel", job.id, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["cancelled"] is True
    waited = call("status", job.id, "--wait")
    assert waited.returncode == 1
    assert re.search(rf"{job.id}: cancelled: by \S+@\S+", waited.stderr)


def test_a_job_that_is_not_there(call: Run) -> None:
    for command in ("status", "fetch", "cancel", "history"):
        done = call(command, "nothing")
        assert (done.returncode, done.stdout) == (1, "")
        assert lines(done.stderr) == ["minimoto: there is no job nothing; minimoto list shows those that there are"]


def test_completion_is_a_script_that_bash_takes(run: Run, tmp_path: Path) -> None:
    done = run(*MINIMOTO, "completion", "bash")
    assert done.returncode == 0, done.stderr
    script = tmp_path / "completion.bash"
    script.write_text(done.stdout)
    subprocess.run(["bash", "-n", str(script)], check=True)

    def complete(words: str) -> list[str]:
        ask = (
            f"source {script}; COMP_WORDS=(minimoto {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
            "$(complete -p minimoto | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
            "printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        return run("bash", "-c", ask).stdout.split()

    assert set(COMMANDS) <= set(complete("''"))
    assert complete("submit --pi") == ["--pipeline"]
    (tmp_path / "here" / "photos").mkdir()
    (tmp_path / "here" / "phone.txt").touch()
    assert complete("submit pho") == ["photos"]  # folders only


def test_the_docs_name_every_command_and_option() -> None:
    docs = (ROOT / "docs" / "client.md").read_text("utf-8")
    commands = ("submit", "status", "list", "cancel", "fetch", "history", "completion")
    parser = build_parser()
    (commands_of,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands:
        assert f"`minimoto {command} " in docs
        for action in commands_of.choices[command]._actions:
            for option in set(action.option_strings) - {"-h", "--help", "--config", "--debug"}:
                assert option in docs, f"docs/client.md does not name {command} {option}"


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_completion_for_other_shells_names_every_command(call: Run, shell: str) -> None:
    done = call("completion", shell)
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


def test_what_the_system_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: argparse.Namespace) -> int:
        raise OSError(28, "No space left on device", "/home/ana/configure.ini")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("minimoto.cli.completion.run", full)
    assert main(["completion", "bash"]) == 1
    assert capsys.readouterr().err == "minimoto: /home/ana/configure.ini: No space left on device\n"
    with pytest.raises(OSError, match="No space"):
        main(["completion", "bash", "--debug"])
