"""Where results go: what is there is not replaced, what cannot be written is said before the work, and nothing computed is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

QUICK = ("--samples", "20", "--draws", "2", "--timesteps", "8", "--kill-cores", "1")
INJECT = ("inject", *QUICK)


def started(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None, **options) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "neurofault", *words], text=True, cwd=cwd, env={**os.environ, **(env or {})},
        stdout=options.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def ran(*words: str, **options) -> tuple[int, str, str]:
    """Run it and return exit code, stdout, stderr without the lines of progress."""
    process = started(*words, **options)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


@pytest.fixture
def no_work(monkeypatch):
    """Any beginning of work fails the test."""

    def work(*_):
        raise AssertionError("work was begun")

    monkeypatch.setattr("neurofault.study.prepare.prepare", work)
    monkeypatch.setattr("neurofault.papers.rescue2019.run.paper", work)


VERBS = {
    "inject --json": (("inject", "--json"), ".json"),
    "rescue --json": (("rescue", "--json"), ".json"),
    "atlas --json": (("atlas", "--json"), ".json"),
    "doctor --json": (("doctor", "--json"), ".json"),
    "rescue --picture": (("rescue", "--picture"), ".png or .svg or .pdf"),
    "convert OUT": (("convert", "digits-mlp"), ".nir or .net"),
}


def named(verb: str) -> str:
    return verb.split()[-1]


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_of_another_kind_is_refused_before_the_work(cli, no_work, tmp_path, verb):
    words, endings = VERBS[verb]
    target = tmp_path / "model.pt"
    target.write_text("mine")
    code, out, err = cli(*words, str(target))
    stdout = "; - is stdout" if endings == ".json" else ""
    assert (code, out, err) == (
        2, "", f"neurofault: {named(verb)} {target}: the name of the file must end in {endings}{stdout}\n"
    )  # fmt: skip
    assert target.read_text() == "mine"


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_in_the_place_of_a_file_is_refused_before_the_work(cli, no_work, tmp_path, verb):
    code, out, err = cli(*VERBS[verb][0], str(tmp_path))
    assert (code, out, err) == (2, "", f"neurofault: {named(verb)} {tmp_path}: is a folder, not a file\n")


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_cannot_be_made_is_refused_before_the_work(cli, no_work, verb):
    words, endings = VERBS[verb]
    target = f"/proc/nope/x{endings.split()[0]}"
    code, out, err = cli(*words, target)
    assert (code, out, err) == (2, "", f"neurofault: {named(verb)} {target}: No such file or directory\n")


@pytest.mark.parametrize(("verb", "words"), [("atlas", ("atlas",)), ("paper", ("paper", "fig1", "--quick"))])
def test_an_output_folder_that_is_a_file_is_refused_before_the_work(cli, no_work, tmp_path, verb, words):
    (tmp_path / "x").write_text("mine")
    code, out, err = cli(*words, "--out", str(tmp_path / "x"))
    assert (code, out, err) == (2, "", f"neurofault: --out {tmp_path / 'x'}: {tmp_path / 'x'} is a file, not a folder\n")
    assert (tmp_path / "x").read_text() == "mine"


def test_a_missing_folder_is_made(cli, tmp_path):
    assert cli(*INJECT, "--json", str(tmp_path / "a" / "b" / "r.json"))[0] == 0
    assert json.loads((tmp_path / "a" / "b" / "r.json").read_text())["n_draws"] == 2
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["r.json"]


def test_json_goes_through_links_and_fifos_and_leaves_them(cli, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "t.json").write_text("old")
    (tmp_path / "real" / "t.json").chmod(0o640)
    (tmp_path / "link.json").symlink_to("real/t.json")
    assert cli(*INJECT, "--json", str(tmp_path / "link.json"))[0] == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real" / "t.json").read_text())["n_draws"] == 2
    assert (tmp_path / "real" / "t.json").stat().st_mode & 0o777 == 0o640
    fifo, came = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: came.append(fifo.read_text()), daemon=True)
    reader.start()
    assert cli(*INJECT, "--json", str(fifo))[0] == 0
    reader.join(30)
    assert json.loads(came[0])["n_draws"] == 2
    assert fifo.is_fifo()


def test_json_that_cannot_be_written_any_more_is_printed(cli, tmp_path, monkeypatch):
    target = tmp_path / "gone" / "r.json"
    from neurofault.study import inject_report

    original = inject_report.to_json

    def and_the_folder_goes(result, **named):
        target.parent.rmdir()
        return original(result, **named)

    monkeypatch.setattr(inject_report, "to_json", and_the_folder_goes)
    code, out, err = cli(*INJECT, "--json", str(target))
    assert code == 2
    assert json.loads(out)["n_draws"] == 2
    assert err.endswith(f"neurofault: --json {target}: No such file or directory; the JSON was printed instead\n")


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="a small file system is mounted, which takes root on Linux"
)
def test_a_full_disk_shows_before_the_work(cli, no_work, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", full], check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        for verb, (words, endings) in VERBS.items():
            target = full / f"x{endings.split()[0]}"
            code, out, err = cli(*words, str(target))
            assert (code, out, err) == (2, "", f"neurofault: {named(verb)} {target}: No space left on device\n")
            assert list(full.iterdir()) == []
    finally:
        subprocess.run(["umount", full], check=True)


def test_with_json_on_stdout_nothing_else_is_there(tmp_path):
    (tmp_path / "mynets.py").write_text(
        "import os\nfrom torch import nn\nprint('hello')\nos.write(1, b'from below\\n')\nos.system('echo from a child')\n"
        "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))\n"
    )
    code, out, err = ran("inject", "--network", "mynets:net", *QUICK, "--neurons-per-core", "4", "--json", "-", cwd=tmp_path)
    assert code == 0, err
    assert json.loads(out)["network"] == "mynets:net"
    assert all(text in err for text in ("hello", "from below", "from a child"))


@pytest.mark.parametrize("words", [INJECT, ("faults", "list"), ("doctor",)], ids=lambda words: words[0])
def test_stdout_that_takes_nothing_is_one_line_and_a_reader_that_goes_is_none(words):
    with Path("/dev/full").open("w") as full:
        code, _, err = ran(*words, stdout=full)
    assert code == 2
    assert err.splitlines()[-1] == "neurofault: the output could not be written: No space left on device"
    assert "Traceback" not in err
    process = started(*words)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(300) == 0
    said = process.stderr.read()
    assert "Traceback" not in said
    assert "rror" not in said


def test_closed_streams_and_any_encoding_do(tmp_path):
    shell = subprocess.run(
        f"{sys.executable} -m neurofault {' '.join(INJECT)} --json {tmp_path / 'r.json'} >&- 2>&-", shell=True, check=False
    )
    assert shell.returncode == 0
    assert (tmp_path / "r.json").exists()
    for encoding in ("latin-1", "utf-8"):
        code, out, err = ran(*INJECT, env={"PYTHONIOENCODING": encoding}, encoding=encoding)
        assert code == 0, err
        assert ("  ✗" in out) == (encoding == "utf-8")  # a dead core's line of the legend
        assert "1 core dead" in out


def test_names_in_square_brackets_are_shown_as_they_are(cli, tmp_path):
    from neurofault.deploy.profile import bundled_profiles  # noqa: F401  # where the profiles are found

    text = (Path(__file__).parents[2] / "hardware_profiles" / "loihi2.yaml").read_text()
    folder = tmp_path / "old[" / "bold]"
    folder.mkdir(parents=True)
    (folder / "p [rev b].yaml").write_text(text)
    code, out, err = cli(*INJECT, "--profile", str(folder / "p [rev b].yaml"))
    assert code == 0, err
    assert str(folder / "p [rev b].yaml") in out.splitlines()[-1]


@pytest.mark.parametrize("columns", [24, 60])
def test_no_digit_is_cut_on_a_narrow_terminal(cli, columns):
    import fcntl
    import pty
    import struct
    import termios

    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen([sys.executable, "-m", "neurofault", *INJECT], stdout=side, stderr=subprocess.DEVNULL, env=env)
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait(600) == 0
    wide = cli(*INJECT)[1]
    words = shown.decode().split()
    numbers = [word for line in wide.splitlines()[:16] for word in line.split() if word.replace(".", "").isdigit()]
    assert len(numbers) > 10
    assert [number for number in numbers if number not in words] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_a_verb_with_one_line(number, code):
    process = started(
        "rescue",
        "--draws",
        "50",
        "--cycles",
        "20",
        preexec_fn=lambda: signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL),
    )
    time.sleep(4)
    process.send_signal(number)
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err.splitlines()[-1:]) == (code, ["neurofault: stopped"]), err
    assert "Traceback" not in err


def test_a_signal_that_a_library_catches_ends_a_verb_all_the_same(tmp_path):
    (tmp_path / "stubborn.py").write_text(
        "import time\ndef net():\n    try:\n        print('here', flush=True)\n        time.sleep(100)\n    except BaseException:\n        pass\n    time.sleep(100)\n"
    )
    process = started("inject", "--network", "stubborn.py:net", "--data", "digits", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err.splitlines()[-1]) == (143, "neurofault: stopped")


def test_a_signal_during_an_import_waits_for_its_end_but_not_for_ever(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(0.5)\nprint('imported', flush=True)\ndef net():\n    time.sleep(100)\n"
    )
    process = started("inject", "--network", "slow.py:net", "--data", "digits", cwd=tmp_path)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out, err) == (143, "imported\n", "neurofault: stopped\n")
    (tmp_path / "hangs.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(1000)\n")
    process = started("inject", "--network", "hangs.py:net", "--data", "digits", cwd=tmp_path)
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (143, "neurofault: stopped\n")


def test_a_signal_in_code_that_cannot_raise_ends_a_verb_with_one_line(tmp_path):
    (tmp_path / "gone.py").write_text(
        "import ctypes, os, signal, time\n"
        "class Gone:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGINT)\n        time.sleep(1)\n"
        "def called(_):\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(1)\n    return 0\n"
        "def net():\n    Gone()\n    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(called)(1)\n    time.sleep(100)\n"
    )
    process = started("inject", "--network", "gone.py:net", "--data", "digits", cwd=tmp_path)
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (143, "neurofault: stopped\n")


def test_a_cache_that_cannot_be_written_costs_nothing(cli, monkeypatch):
    monkeypatch.setenv("NEUROFAULT_CACHE", "/proc/nope")
    monkeypatch.setattr("neurofault.zoo.shipped.load_shipped", lambda key: None)
    code, out, err = cli(*INJECT)
    assert code == 0, err
    assert "damaged" in out
    [said] = [line for line in err.splitlines() if "not kept" in line]
    assert said.startswith(
        "neurofault: warning: digits-mlp-2df946a540be-b7232ac2ec74.pt is not kept and will be made again next time: /proc/nope/zoo: "
    )
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("./mynets:wine", "network './mynets:wine': there is no file mynets.py; write package.module:factory, or file.py:factory"),
        ("nets/broken.py:net", "network 'nets/broken.py:net': importing broken raised ZeroDivisionError: division by zero"),
        ("nets/good.py:nte", "network 'nets/good.py:nte': module nets/good.py has no 'nte'; it defines nothing that can be called"),
        ("nets/pair.py:biuld", "network 'nets/pair.py:biuld': module nets/pair.py has no 'biuld' (did you mean 'build'?)"),
        ("nets/couple.py:xyz", "network 'nets/couple.py:xyz': module nets/couple.py has no 'xyz'; it defines build, other"),
        (
            "nest:build",
            "network 'nest:build': No module named 'nest' (did you mean 'nets'?); run where Python finds nest, or set PYTHONPATH",
        ),
        ("nets/other.py:number", "network 'nets/other.py:number': number is int, not a class or function that makes the module"),
        ("nets.good:", "network 'nets.good:': write package.module:factory, or a name of the zoo, or a file (.nir, .net)"),
    ],
)
def test_a_network_that_is_not_there_is_one_line(cli, tmp_path, monkeypatch, network, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "broken.py").write_text("1 / 0\n")
    (tmp_path / "nets" / "good.py").write_text("number = 1\n")
    (tmp_path / "nets" / "other.py").write_text("number = 1\n")
    for name in ("pair", "couple"):
        (tmp_path / "nets" / f"{name}.py").write_text("from pathlib import Path\ndef build():\n    pass\ndef other():\n    pass\n")
    (tmp_path / "nets.py").write_text("")
    code, out, err = cli("inject", "--network", network)
    assert (code, out, err) == (2, "", f"neurofault: {message}\n")


def test_a_network_may_be_named_by_its_file(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "own.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))\n"
    )
    for network in ("./nets/own:net", "nets/own.py:net", str(tmp_path / "nets" / "own.py") + ":net"):
        code, _, err = cli("map", "--network", network)
        assert code == 0, err


@pytest.mark.parametrize("option", ["layer", "where", "at"])
def test_a_place_beside_a_whole_fault_is_refused(cli, option):
    code, out, err = cli("inject", "--fault", "{kind: neuron_dead, count: 1}", f"--{option}", "output")
    assert (code, out) == (2, "")
    assert err == (
        f"neurofault: --{option} goes with --fault KIND or --kill-cores N; write it inside a whole --fault '{{kind: …}}'\n"
    )
    code, _, err = cli("inject", "--fault", "{kind: neuron_dead, count: 1}", "--kill-cores", "1", f"--{option}", "output")
    assert code == 2
    assert "says nothing of that one" in err


def test_a_rescue_keeps_as_many_spare_cores_as_its_faults_kill(cli):
    words = ("rescue", "--samples", "20", "--adapt", "20", "--control", "none", "--draws", "2", "--coarse", "--strategy", "remap")
    found = []
    for faults in (("--kill-cores", "2"), ("--fault", "core_dead", "--count", "2"), ("--fault", "{kind: core_dead, count: 2}")):
        code, out, err = cli(*words, *faults, "--json", "-")
        assert code == 0, err
        found.append([row["final"] for row in json.loads(out)["rows"]])
    assert found[0] == found[1] == found[2]
    code, _, err = cli(*words, "--fault", "core_dead", "--rate", "0.1")
    assert code == 2
    assert err == (
        "neurofault: how many cores core_dead kills at a rate is not known beforehand; say how many are kept free with --spare-cores\n"
    )


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="folders are mounted read-only, which takes root on Linux")
def test_a_read_only_install_and_home_do(tmp_path):
    import shutil

    import neurofault

    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    (tmp_path / "home").mkdir()
    source = Path(neurofault.__file__).parent
    shutil.copytree(source, tmp_path / "code" / "neurofault", ignore=shutil.ignore_patterns("__pycache__"))
    if (beside := source.parent / "hardware_profiles").is_dir():  # a wheel has them in the package
        shutil.copytree(beside, tmp_path / "code" / "hardware_profiles")
    script = "mount --make-rprivate /; for d in code home; do mount --bind $d $d; mount -o remount,ro,bind $d; done; "
    script += f"{sys.executable} -m neurofault convert digits-mlp r.nir --timesteps 8"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("NEUROFAULT", "XDG"))}
    env |= {"PYTHONPATH": str(tmp_path / "code"), "HOME": str(tmp_path / "home")}
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("r.nir: digits-mlp, ")
    assert (tmp_path / "r.nir").stat().st_size > 10_000
    assert list((tmp_path / "home").iterdir()) == []
