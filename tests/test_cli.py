"""The command line: what it prints, writes and refuses; errors are one line and exit code 2."""

import subprocess
import sys
import types

import numpy as np
import pytest

import lavadl_lite
from lavadl_lite import cli, netx
from lavadl_lite.exchange import Layer, save

CUBA = {"type": "CUBA", "iDecay": 4096, "vDecay": np.array([0, 7]), "vThMant": 63}


@pytest.fixture
def network(tmp_path):
    """Two inputs, two neurons that pass spikes on, and a read-out."""
    layers = [
        Layer("input", {"shape": np.array([2])}),
        Layer(
            "dense",
            {
                "inFeatures": 2,
                "outFeatures": 2,
                "shape": np.array([2]),
                "weight": np.array([[64, 0], [0, 64]]),
                "delay": np.array([0, 5]),
            },
            CUBA,
        ),
        Layer("dense", {"inFeatures": 2, "outFeatures": 1, "shape": np.array([1]), "weight": np.array([[-6, 4]])}),
    ]
    save(tmp_path / "a.net", layers)
    return tmp_path / "a.net"


@pytest.fixture
def array(tmp_path):
    """A file of an array."""

    def write(values):
        np.save(tmp_path / "x.npy", values)
        return tmp_path / "x.npy"

    return write


def run(*arguments):
    """Exit code of a command."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def check_error(capsys, code, *parts):
    """One line on stderr that says what is wrong, and exit code 2."""
    assert code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lavadl-lite")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    for part in parts:
        assert str(part) in err


def test_info_is_a_table(network, capsys):
    assert run("info", network) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert " ".join(lines[0]) == "layer type shape neuron neurons weights bits bias delay threshold iDecay vDecay"
    assert lines[1] == ["0", "input", "2", "-", "-", "-", "-", "-", "-", "-", "-", "-"]
    assert lines[2] == ["1", "dense", "2", "CUBA", "2", "2", "1", "-", "0..5", "63", "4096", "0..7"]
    assert lines[3] == ["2", "dense", "1", "integrator", "1", "2", "3", "-", "-", "-", "-", "-"]
    assert " ".join(lines[4]) == f"3 neurons, 4 weights; lavadl_lite {lavadl_lite.__version__}"


def test_info_knows_every_entry(tmp_path, capsys):
    """Kernels count once, complex weights in both parts; what an entry does not have is a dash."""
    moves = {"kernelSize": [2, 2], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1]}
    parts = {f"{name}/{part}": [[4, 0], [0, -4]] for name in ("weight", "weight_rec") for part in ("real", "imag")}
    bias = {"bias/real": [1, 2], "bias/imag": [-7, 0]}
    sdnn = {"type": "SDNN", "activation": "relu", "vThMant": [3, 9]}
    save(
        tmp_path / "a.net",
        [
            Layer("input", {"shape": [2, 3, 4]}, sdnn),
            Layer("pool", {"shape": [2, 2, 2], "weight": [[[[64, 64], [64, 64]]]], **moves}, sdnn),
            Layer("decimation", {"shape": [2, 2, 2], "factor": 2}),
            Layer("flatten", {"shape": [8, 1, 1]}),
            Layer("average", {"shape": [2]}),
            Layer(
                "dense_rec",
                {"inFeatures": 2, "outFeatures": 2, "shape": [2], **parts, **bias},
                {"type": "RF_IZHIKEVICH", "sinDecay": 5, "cosDecay": 6, "vThMant": 7},
            ),
        ],
    )
    assert run("info", tmp_path / "a.net") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[1:7] == [
        "0 input 2x3x4 SDNN 24 - - - - 3..9 - -",
        "1 pool 2x2x2 SDNN 8 4 1 - - 3..9 - -",
        "2 decimation 2x2x2 - - - - - - - - -",
        "3 flatten 8 - - - - - - - - -",
        "4 average 2 - - - - - - - - -",
        "5 dense_rec 2 RF_IZHIKEVICH 2 8 2 -7..2 - 7 - -",
    ]
    assert lines[7].startswith("34 neurons, 12 weights; ")


def test_check_prints_findings(network, tmp_path, capsys):
    """0 where nothing is an error, 1 where something is, whatever the target."""
    for target in ("lava", "loihi2", "simulator"):
        assert run("check", network, "--target", target) == 0
        assert capsys.readouterr().out == f"{netx.check(network, target)}\n"
    graded = {**CUBA, "vDecay": 7, "gradedSpike": True}
    fields = {"inFeatures": 1, "outFeatures": 1, "shape": np.array([1]), "weight": np.array([[2]])}
    save(tmp_path / "b.net", [Layer("dense", fields, graded)])
    assert run("check", tmp_path / "b.net") == 1
    assert "error: /layer/0/neuron/gradedSpike: " in capsys.readouterr().out
    assert run("check", tmp_path / "b.net", "--target", "simulator") == 0


def test_verify_compares_with_a_stored_output(network, array, tmp_path, capsys):
    x = np.random.default_rng(0).random((3, 2, 20)) < 0.4
    output = tmp_path / "y.npy"
    assert run("run", network, array(x), "-o", output, "--num-layers", 2) == 0
    capsys.readouterr()
    assert run("verify", network, array(x), "--expected", output, "--num-layers", 2) == 0
    assert capsys.readouterr().out == f"{output} and the simulator are equal: 120 values\n"
    stored = np.load(output)
    stored[2, 1, 7] += 1
    np.save(output, stored)
    assert run("verify", network, array(x), "--expected", output, "--num-layers", 2) == 1
    assert "the output, step 7, neuron (1,), sample 2: " in capsys.readouterr().out
    np.save(output, stored[2])
    assert run("verify", network, array(x[2]), "--expected", output, "--num-layers", 2) == 1
    capsys.readouterr()
    check_error(capsys, run("verify", network, array(x), "--expected", output), "expected values of shape (2, 20)")


def test_events_are_spikes_in_bins(tmp_path):
    """Two events in one bin are one spike; what lies beyond the last step is left out."""
    pytest.importorskip("torch")
    from lavadl_lite.slayer import io

    save(tmp_path / "a.net", [Layer("input", {"shape": np.array([2, 3, 4])}, {**CUBA, "vDecay": 7, "vThMant": 0})])
    x, y, c, t = [3, 3, 0, 1], [2, 2, 0, 1], [1, 1, 0, 0], [0.25, 0.4, 4, 9]
    io.encode_2d_spikes(tmp_path / "x.bs2", io.Event(x, y, c, t))
    filled = np.zeros((2, 3, 4, 10))
    filled[1, 2, 3, 0] = filled[0, 0, 0, 4] = filled[0, 1, 1, 9] = 1
    output = tmp_path / "y.npy"
    for options, dense in (([], filled), (["--steps", 5], filled[..., :5])):
        assert run("run", tmp_path / "a.net", tmp_path / "x.bs2", "-o", output, *options) == 0
        np.testing.assert_array_equal(np.load(output), netx.Simulator(tmp_path / "a.net").run(dense))
    assert run("run", tmp_path / "a.net", tmp_path / "x.bs2", "-o", output, "--sampling-time", 2) == 0
    assert np.load(output).shape == (2, 3, 4, 5)


def test_events_without_rows(network, tmp_path, capsys):
    pytest.importorskip("torch")
    from lavadl_lite.slayer import io

    io.encode_1d_spikes(tmp_path / "x.bs1", io.Event([0, 1, 1], None, [0, 0, 0], [0, 1, 4]))
    output = tmp_path / "y.npy"
    assert run("run", network, tmp_path / "x.bs1", "-o", output, "--steps", 9) == 0
    dense = np.zeros((2, 9))
    dense[[0, 1, 1], [0, 1, 4]] = 1
    np.testing.assert_array_equal(np.load(output), netx.Simulator(network).run(dense))
    io.encode_2d_spikes(tmp_path / "x.bs2", io.Event([0], [0], [0], [0]))
    capsys.readouterr()
    check_error(capsys, run("run", network, tmp_path / "x.bs2"), "expected (C, Y, X) as the network's input, got (2,)")


def test_events_need_torch(network, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "lavadl_lite.slayer.io", None)
    monkeypatch.delattr(sys.modules.get("lavadl_lite.slayer", object()), "io", raising=False)
    check_error(capsys, run("run", network, tmp_path / "x.bs2"), "reading events needs torch")


def test_run_prints_a_summary_and_writes_what_the_simulator_gives(network, array, tmp_path, capsys):
    x = np.random.default_rng(0).random((3, 2, 20)) < 0.4
    output = tmp_path / "y.npy"
    assert (
        run("run", network, array(x), "-o", output, "--num-layers", 2, "--align", "slayer", "--reset-interval", 7) == 0
    )
    expected = netx.Simulator(network, 2, reset_interval=7).run(x, "slayer")
    np.testing.assert_array_equal(np.load(output), expected)
    assert capsys.readouterr().out == (
        f"Simulator((2,) -> (2,)): output (3, 2, 20), {np.count_nonzero(expected)} messages\n"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"a.net", "x.npy", "y.npy"}


def test_run_is_told_the_plane(array, tmp_path, capsys):
    """Two sizes of it give the same output where the stride is 2."""
    sizes = {"inChannels": 1, "outChannels": 1, "groups": 1, "shape": [1, 2, 2], "kernelSize": [1, 1]}
    sizes |= {"stride": [2, 2], "padding": [0, 0], "dilation": [1, 1], "weight": np.full((1, 1, 1, 1), 64)}
    save(tmp_path / "a.net", [Layer("conv", sizes, {**CUBA, "vDecay": 4096})])
    x = array(np.ones((1, 4, 3, 5), int))
    check_error(capsys, run("run", tmp_path / "a.net", x), "expected input_shape")
    output = tmp_path / "y.npy"
    assert run("run", tmp_path / "a.net", x, "-o", output, "--input-shape", 1, 4, 3) == 0
    np.testing.assert_array_equal(np.load(output), np.broadcast_to([0, 1, 1, 1, 1], (1, 2, 2, 5)))


def test_run_without_output_writes_nothing(network, array, tmp_path):
    assert run("run", network, array(np.zeros((2, 5)))) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.net", "x.npy"}


def test_run_encodes_real_input(array, tmp_path):
    save(tmp_path / "a.net", [Layer("input", {"shape": np.array([2]), "weight": np.array([40])}, CUBA)])
    x = np.random.default_rng(0).normal(size=(2, 30))
    assert run("run", tmp_path / "a.net", array(x), "--encode", "--output", tmp_path / "y.npy") == 0
    simulator = netx.Simulator(tmp_path / "a.net")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), simulator.run(simulator.encode(x)))


def test_a_failed_run_keeps_the_old_output(network, array, tmp_path, capsys):
    output = tmp_path / "y.npy"
    output.write_bytes(b"precious")
    check_error(
        capsys, run("run", network, array(np.zeros((3, 5))), "-o", output), "expected input of shape ([N,] 2, T)"
    )
    assert output.read_bytes() == b"precious"
    assert {path.name for path in tmp_path.iterdir()} == {"a.net", "x.npy", "y.npy"}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["COMMAND"]),
        (["fly"], ["fly", "info"]),
        (["info"], ["FILE.net"]),
        (["info", "none.net"], ["none.net: No such file or directory"]),
        (["run", "none.net"], ["INPUT"]),
        (["run", "none.net", "x.npy"], ["none.net: No such file or directory"]),
        (["run", "none.net", "x.npy", "--align", "lava"], ["--align", "slayer"]),
        (["run", "none.net", "x.npy", "--num-layers", "two"], ["--num-layers", "two"]),
        (["run", "none.net", "x.npy", "--num-layers", "0"], ["num_layers", "at least 1"]),
        (["check", "none.net"], ["none.net: No such file or directory"]),
        (["check", "none.net", "--target", "loihi"], ["--target", "loihi2"]),
        (["verify", "none.net", "x.npy"], ["--against", "--expected"]),
        (["verify", "none.net", "x.npy", "--against", "lava", "--expected", "y.npy"], ["--expected", "--against"]),
    ],
)
def test_wrong_commands(arguments, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_error(capsys, run(*arguments), *parts)


def test_wrong_files(network, array, tmp_path, capsys):
    x = array(np.zeros((2, 5)))
    check_error(capsys, run("info", x), x, "damaged")
    check_error(capsys, run("run", x, x), x, "damaged")
    check_error(capsys, run("run", network, network), network, "expected an array of numbers")
    check_error(capsys, run("run", network, tmp_path / "none.npy"), "none.npy: No such file")
    check_error(capsys, run("info", tmp_path), tmp_path)
    check_error(capsys, run("run", network, array(np.array([{}]))), "expected an array of numbers")
    check_error(capsys, run("run", network, array(np.full((2, 5), 0.5))), "expected integers, got 0.5")
    np.savez(tmp_path / "several.npz", np.zeros(2))
    check_error(capsys, run("run", network, tmp_path / "several.npz"), "an archive of several")


def test_the_place_inside_a_bad_file_is_named(network, capsys):
    import h5py

    with h5py.File(network, "a") as file:
        file["layer/1/weight"][0, 0] = 0.5
    check_error(capsys, run("info", network), f"{network}: /layer/1/weight: expected integers in", "got 0.5 at [0, 0]")


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"lavadl-lite {lavadl_lite.__version__}\n"


def test_help_names_every_command(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("info", "check", "run", "verify", "doctor", "demo"))


def test_doctor_finds_what_the_tests_need(capsys):
    assert run("doctor") == 0
    out = capsys.readouterr().out
    for name in ("numpy", "numba", "h5py", "threads", "kernel", "cache", "GPU"):
        assert f"  {name} " in out
    assert out.endswith("everything that is needed works\n")
    kernel = next(line for line in out.splitlines() if "  kernel " in line)
    assert kernel.startswith("ok")


def test_doctor_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_version", lambda name: None if name in ("numba", "torch") else "1.0")
    assert run("doctor") == 1
    out = capsys.readouterr().out
    assert "missing: pip install numba" in out
    assert "not installed; training needs it: pip install torch" in out
    assert out.endswith("something that is needed does not work: see above\n")


def test_demo_gets_its_options_and_its_exit_code(monkeypatch):
    seen = []
    demo = types.ModuleType("lavadl_lite.demo")
    demo.add_arguments = lambda parser: parser.add_argument("--epochs", type=int, default=3)
    demo.main = lambda options: seen.append(options.epochs) or 7
    monkeypatch.setitem(sys.modules, "lavadl_lite.demo", demo)
    monkeypatch.setattr(lavadl_lite, "demo", demo, raising=False)
    assert run("demo", "--epochs", 5) == 7
    assert run("demo") == 7
    assert seen == [5, 3]


def test_looking_at_a_file_needs_neither_torch_nor_numba(network):
    code = (
        "import sys; from lavadl_lite.cli import main; "
        f"assert main(['info', {str(network)!r}]) == 0; "
        "assert not {'torch', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
