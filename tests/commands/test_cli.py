"""`cnn-rnn`: every command by name, help at once, one exit code for what is refused."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.commands_by_name import ROOT, main_of

from cnn_rnn.commands import cli, console
from cnn_rnn.commands.console import BENCHMARK_NAMES, PROTOCOL_NAMES, SOURCE_NAMES, missing_package, refuse
from cnn_rnn.data import SOURCES
from cnn_rnn.data.benchmarks.archives import ARCHIVES
from cnn_rnn.foundation.one_line import calm_terminal, visible
from cnn_rnn.metrics.protocols import PROTOCOLS

FILES = {path.stem for path in Path(cli.__file__).parent.glob("*.py")} - {"__init__", "cli", "console", "launching"}
HEAVY = {"torch", "transformers", "datasets", "timm", "numpy"}


def test_every_command_has_its_file_its_script_and_its_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        {name.replace("-", "_") for name in cli.COMMANDS} == FILES == {path.stem for path in ROOT.glob("scripts/*.py")}
    )
    assert cli.main(["--help"]) == cli.main([]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in cli.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["predict", "--inptu", "x.jpg"], "--inptu is not known; did you mean --input?"),  # not: --input is missing
        (["predict", "x.jpg"], "required: --input"),
        (["train", "--confg", "digits"], "--confg is not known; did you mean --config?"),
        (["train", "--config", "digits", "--num_processes", "2"], "--num_processes is not known"),  # without --launch
        (["data", "look", "digits", "--tpo", "3"], "--tpo is not known; did you mean --top?"),
        (["validate", "runs/x", "--data.no", "-none-", "--outptu=y"], "--outptu is not known; did you mean --output?"),
        (["review", "runs/x", "-o", "y"], "-o is not known"),
        (["predict", "--input", "-rf.jpg"], "=-rf.jpg or, where it is a path, ./-rf.jpg"),
        (["app", "--port", "80000"], "argument --port: must lie in 0..65535, got 80000"),
        (["serve", "--port", "-1"], "argument --port: must lie in 0..65535, got -1"),
        (["app", "--input", "-x"], "-x is not known; as the value of --input it is written --input=-x or"),
        (["predict", "--input", "-1.jpg"], "--input=-1.jpg or, where it is a path, ./-1.jpg"),
        (["predict", "--input", "-\u00e4.jpg"], "--input=-\u00e4.jpg or"),
        (["report", "runs/x", "--output", "-r.html"], "--output=-r.html or"),
        (["data", "look", "-photos"], "-photos is not known; where it is a path it is written ./-photos"),
        (["validate", "-run.1", "--output", "x"], "-run.1 is not known; where it is a path it is written ./-run.1"),
        (["predict", "--input", "x.jpg", "-rf.jpg"], "where it is a path it is written ./-rf.jpg"),
        (["report", "runs/x", "--output", "y", "--examples", "few"], "invalid int value: 'few'"),
        (["validate", "x", "--output", "y", "--data.spilt", "val"], "--data.spilt is not known; did you mean --data.s"),
        (["report", "runs/x", "--output", "."], "argument --output: . is a folder; expected the name of a file"),
        (["export-onnx", "x", "--output", "y", "--int8", "."], "argument --int8: . is a folder"),
        (["predict", "--input", "x", "--output", __file__], "is a file; expected a folder"),
        (["data", "convert", "digits", "--output", __file__], "is a file; expected a folder"),
        (
            ["predict", "--model", "", "--input", "x"],
            "argument --model: its value is empty; is a variable of the shell",
        ),
        (["predict", "--model=", "--input", "x"], "argument --model: its value is empty"),
        (["train", "--config", "", "--data.root", ""], "argument --config: its value is empty"),
        (["validate", "", "--output", "y"], "an argument is empty; is a variable of the shell not set?"),
        (["data", "look", ""], "an argument is empty"),
        (["predict", "--input", "x", "--limit", "-1"], "argument --limit: must be at least 1, got -1"),
        (["predict", "--input", "x", "--part_size", "0"], "argument --part_size: must be at least 1, got 0"),
        (["validate", "x", "--output", "y", "--num_workers=-1"], "argument --num_workers: must be at least 0, got -1"),
        (["review", "x", "--output", "y", "--folds", "1"], "argument --folds: must be at least 2, got 1"),
        (
            ["review", "x", "--output", "y", "--plant", "2"],
            "argument --plant: must be a share from 0 to below 1, got 2",
        ),
        (
            ["data", "convert", "x", "--output", "y", "--validation", "1"],
            "--validation: must be a share from 0 to below",
        ),
    ],
)
def test_an_option_that_is_not_known_is_one_line_with_the_nearest(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    assert told in (error := capsys.readouterr().err)
    assert error.startswith("error: ")
    assert error.endswith("--help' says what it takes)\n")
    assert error.count("\n") == 1


def test_no_name_of_a_file_or_a_label_rules_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("\x1b]0;pwned\a", "\u202egod"):
        (tmp_path / label).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / label / f"{number}\x1b[2J.png")
    assert cli.main(["data", "look", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "(train): \\x1b]0;pwned\\x07 3, \\u202egod 3" in printed.out
    assert not set("\x1b\a\u202e") & set(printed.out + printed.err)


@pytest.mark.parametrize(
    ("shell", "code", "told"),
    [
        ("{} --help | true", 141, ""),
        ("{} --help > /dev/full", 2, "error: [Errno 28] No space left on device\n"),
        ("{} --help >&-", 0, ""),
        ("{} nothing 2>&-", 2, ""),
        ("{} nothing <&- >&- 2>&-", 2, ""),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_traceback(shell: str, code: int, told: str) -> None:
    command = f"{sys.executable} -c 'import time; time.sleep(0.2); from cnn_rnn.commands.cli import main; exit(main())'"
    done = subprocess.run(
        ["bash", "-c", f"{shell.format(command)}; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, told)


@pytest.mark.parametrize("text", ["\n\n", "\x1b[A\x1b[A", "\r"])
def test_progress_bars_move_from_line_to_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with calm_terminal():
        sys.stderr.write(text)
    assert capsys.readouterr().err == text


def test_what_begins_like_an_option_may_be_the_value_of_a_setting_or_of_a_launcher() -> None:
    parser = console.CommandParser(hands_on="--launch")
    parser.add_argument("--launch")
    parser.add_argument("--cosine", type=float)
    parser.add_argument("--photo")
    assert parser.parse_known_args(["--data.no", "--none--", "--cosine", "-0.5"])[1] == ["--data.no", "--none--"]
    for number in ("-1", "-.5", "-2.5"):
        assert parser.parse_known_args(["--cosine", number])[0].cosine == float(number)
    for photo in (["--photo", "-a photo.jpg"], ["--photo=-a photo.jpg"]):
        assert parser.parse_known_args(photo)[0].photo == "-a photo.jpg"
    assert parser.parse_known_args(["--launch", "gpus", "--num_processes", "2"])[1] == ["--num_processes", "2"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--write", "xmp"], "--write needs --output"),
        (["--known", "x.jsonl"], "--known needs --output"),
        (["--engine", "ray"], "--engine ray needs --output"),
        (["--output", "out", "--dry_run"], "--dry_run needs --write"),
        (["--output", "out", "--leave_out", "person"], "--leave_out needs --write"),
        (["--output", "out", "--always_add", "holiday"], "--always_add needs --write"),
    ],
)
def test_options_of_predict_that_would_do_nothing_are_refused(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", "--input", "x.jpg", *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {told}")


@pytest.mark.parametrize("command", ["", *sorted(cli.COMMANDS)])
def test_help_loads_none_of_the_libraries(command: str) -> None:
    code = f"import sys; from cnn_rnn.commands.cli import main\ntry: main({[*command.split(), '--help']})\nfinally: "
    code += f"loaded = {HEAVY} & set(sys.modules); print(loaded, file=sys.stderr)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stderr.strip() == "set()"
    assert "usage: cnn-rnn" in told.stdout


def test_the_help_tells_defaults_and_what_is_typed_for_none(capsys: pytest.CaptureFixture[str]) -> None:
    for command, told in {
        "predict": ["at once (default: 16)", "go on (default: 2000)", "(default: photo.jpg.xmp)"],
        "validate": ["no intervals (default: 200)", "read images (default: 2)"],
        "train": ["null for the embedded one. (default: null)"],
    }.items():
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert not [one for one in told if one not in shown]
        assert "None" not in shown


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_the_help_names_commands_that_there_are(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    named = set(re.findall(r"cnn-rnn ([a-z][\w-]*)", " ".join(capsys.readouterr().out.split())))
    assert command in named
    assert named <= set(cli.COMMANDS)


def test_the_help_names_what_the_packages_know() -> None:
    assert SOURCE_NAMES.split(", ") == list(SOURCES)
    assert BENCHMARK_NAMES.split(", ") == list(ARCHIVES)
    assert PROTOCOL_NAMES.split(", ") == list(PROTOCOLS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trian"], "no command 'trian'; did you mean train?"),
        (["train", "--config", "voc2021"], "did you mean voc2012?"),
        (["train", "--config", "digits", "--train.epoch", "1"], "did you mean train.epochs"),
        (
            ["train", "--launch", "gpu"],
            "none of the settings that ship (deepspeed, fsdp, gpus, machines, one_gpu); did you mean gpus?",
        ),
        (["validate", "nowhere", "--output", "out"], "nowhere"),
        (["report", "nowhere", "--output", "out.html"], "nowhere"),
        (["predict", "--model", "nowhere", "--input", ".", "--output", "out"], "nowhere"),
        (["predict", "--model", "nowhere", "--input", "gone", "--output", "out"], "no file or folder 'gone'"),
        (["predict", "--model", "nowhere", "--input", "table:gone.csv"], "no file or folder 'gone.csv'"),
        (
            ["predict", "--input", ".", "--output", "out", "--known", "gone.jsonl"],
            "--known gone.jsonl: there is no",
        ),
        (["export-onnx", "nowhere", "--output", "out.onnx"], "nowhere"),
        (["push-to-hub", "nowhere", "--repo", "org/x"], "--metrics is missing"),
        (["review", ".", "--output", "out"], ". is no folder of a run: it has no run_config.yaml"),
        (["data", "look", "voc2021", "--root", "x"], "did you mean 'voc2012'?"),
        (["data", "download", "voc2021", "--root", "x"], "choose one of voc2007"),
    ],
)
def test_what_is_refused_is_one_line_and_leaves_with_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cnn-rnn"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it is asked five times
    assert cli.main(arguments) == console.REFUSED == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert told in last
    assert list(tmp_path.iterdir()) == []


def test_underscores_name_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["push_to_hub", "--help"])
    assert left.value.code == 0
    assert "usage: cnn-rnn push-to-hub" in capsys.readouterr().out


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("cnn_rnn.commands.validate.main", interrupted)
    monkeypatch.setattr(sys, "argv", ["cnn-rnn"])
    assert cli.main(["validate"]) == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_flag_is_spelt_in_one_way(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [["--help"]] if name != "data" else [[part, "--help"] for part in ("download", "look", "convert")]
    for page in pages:
        with pytest.raises(SystemExit):
            main_of(name)(page)
    flags = [word.strip("[],") for word in capsys.readouterr().out.split() if word.strip("[],").startswith("--")]
    assert flags
    assert [flag for flag in flags if "-" in flag[2:]] == []


def test_no_name_rules_the_terminal() -> None:
    assert visible("caf\u00e9 \u540d \U0001f600.png") == "caf\u00e9 \u540d \U0001f600.png"
    assert visible("\x1b[2Ja\u202egnp.exe\r\n\x9b") == r"\x1b[2Ja\u202egnp.exe\r\n\x9b"


def test_a_refusal_shows_what_a_name_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert refuse(ValueError("no file \x1b[31mred\u202e.png\nin the folder")) == 2
    assert capsys.readouterr().err == "error: no file \\x1b[31mred\\u202e.png in the folder\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("No module", name="nobase.inner"), "nobase is not installed: pip install cnn-rnn"),
        (
            ModuleNotFoundError("No module", name="nomore"),
            "nomore is not installed: pip install 'cnn-rnn[more]'",
        ),
        (ModuleNotFoundError("No module", name="noother"), "noother is not installed: pip install noother"),
        (ModuleNotFoundError("No module", name="json.absent"), ""),  # a fault of what is there
        (ModuleNotFoundError("No module", name="cnn_rnn.absent"), ""),
        (ModuleNotFoundError("No module"), ""),
        (ImportError("cannot import name", name="nobase"), ""),
    ],
)
def test_what_is_not_installed_is_told_with_what_brings_it(
    error: ImportError, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = [
        "nobase>=1",
        "nobase>=1; extra == 'more'",
        'nomore; extra == "dev"',
        "nomore; extra == 'more'",
    ]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: [*needed, "nootherwise>=1"])
    assert missing_package(error) == told

    def fail(_: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "run", fail)
    if told:
        assert cli.main([]) == 2
        assert capsys.readouterr().err == f"error: {told}\n"
    else:
        with pytest.raises(ImportError) as raised:
            cli.main([])
        assert raised.value is error
