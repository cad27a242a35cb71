"""Historic bugs of this field, put into a copy of the package: tests must fail.

The loss goes down with most of these bugs. Each row of ``MUTANTS`` has the
number in the list of historic bugs, what is wrong, the file, the text replaced
(it occurs once), its replacement, and the test that must kill it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "marketllm"
WRONG_COPY = 90  # exit code: the tests ran on another copy of the package

SCALE = "/ math.sqrt(query.shape[-1])"
MUTANTS = [
    (
        1,
        "scores divided by the root of d_model in place of d_k",
        "attention.py",
        SCALE,
        "/ math.sqrt(query.shape[-1] * (query.shape[1] if query.ndim == 4 else 1))",
        "test_attention.py::test_self_attention_equals_torch",
    ),
    (
        2,
        "scores not scaled at all",
        "attention.py",
        SCALE,
        "",
        "test_attention.py::test_attention_equals_torch",
    ),
    (
        3,
        "Var(q.k) taken to be d_k squared: divided by d_k",
        "attention.py",
        SCALE,
        "/ query.shape[-1]",
        "test_attention.py::test_scores_have_variance_1_at_every_width",
    ),
    (
        5,
        "LayerNorm divides by n - 1",
        "layers.py",
        "centred.pow(2).mean(dim=-1, keepdim=True)",
        "centred.pow(2).sum(dim=-1, keepdim=True) / (x.shape[-1] - 1)",
        "test_layers.py::test_layer_norm_worked_example",
    ),
    (
        5,
        "LayerNorm adds eps outside the root",
        "layers.py",
        "(variance + self.eps).sqrt()",
        "(variance.sqrt() + self.eps)",
        "test_layers.py::test_layer_norm_equals_torch",
    ),
    (
        6,
        "pre-norm code under post-norm text",
        "blocks.py",
        "return self.norm(x + self.dropout(sublayer(x)))",
        "return x + self.dropout(sublayer(self.norm(x)))",
        "test_blocks.py::test_encoder_block_equals_torch",
    ),
    (
        7,
        "the decoder reads the source in place of the target",
        "models.py",
        "x = self.encoder.embedding(target)",
        "x = self.encoder.embedding(source)[:, : target.shape[1]]",
        "test_models.py::test_encoder_decoder_equals_the_stack_of_torch",
    ),
    (
        7,
        "the decoder looks across at the encoder's input, not its output",
        "models.py",
        "memory = self.encoder(source)",
        "memory = self.encoder.embedding(source)",
        "test_models.py::test_encoder_decoder_equals_the_stack_of_torch",
    ),
    (
        9,
        "W_O sized by d_k where d_v differs",
        "attention.py",
        "nn.Linear(n_heads * d_value, d_model, bias)",
        "nn.Linear(n_heads * d_key, d_model, bias)",
        "test_attention.py::test_widths_of_keys_and_values_may_differ",
    ),
    (
        10,
        "positions: the exponent inverted",
        "positions.py",
        "torch.exp(-math.log(10_000)",
        "torch.exp(math.log(10_000)",
        "test_positions.py::test_closed_form",
    ),
    (
        16,
        "padding is attended to by the encoder",
        "models.py",
        "x = block(x, mask)",
        "x = block(x)",
        "test_models.py::test_padding_does_not_change_vectors",
    ),
    (
        16,
        "padding of the source is attended to by the decoder",
        "models.py",
        "x = block(x, memory, mask, memory_mask)",
        "x = block(x, memory, mask)",
        "test_models.py::test_padding_does_not_change_the_decoder",
    ),
    (
        16,
        "padding is counted in the mean",
        "models.py",
        "return total / real.sum(dim=1)",
        "return total / real.shape[1]",
        "test_models.py::test_padding_does_not_change_the_class",
    ),
    (
        16,
        "padding is counted in the loss",
        "losses.py",
        "counted = targets != ignore_id",
        "counted = torch.ones_like(targets, dtype=torch.bool)",
        "test_losses.py::test_padding_does_not_count",
    ),
    (
        17,
        "attention across the batch (batch_first)",
        "blocks.py",
        "x = self.around_attention(x, lambda x: self.self_attention(x, mask=mask))",
        "x = self.around_attention("
        "x, lambda x: self.self_attention(x.transpose(0, 1)).transpose(0, 1))",
        "test_models.py::test_examples_of_an_encoder_do_not_see_each_other",
    ),
]


# The tests ------------------------------------------------------------------


def run_tests(folder, ids):
    """Run named tests on a copy of the package: exit code and what was said."""
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, __file__, str(folder), *ids]
    code = subprocess.run(command, env=env, check=False).returncode
    return code, (folder / "log.txt").read_text()


def copy_package(folder):
    shutil.copytree(
        PACKAGE, folder / "marketllm", ignore=shutil.ignore_patterns("__pycache__")
    )


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"bug {m[0]}: {m[1]}")
def test_mutant_is_killed(mutant, tmp_path):
    _, _, file, old, new, killer = mutant
    copy_package(tmp_path)
    path = tmp_path / "marketllm" / file
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new))
    code, log = run_tests(tmp_path, [killer])
    assert code == 1, f"exit code {code}: {killer} does not kill it\n{log}"
    summary = log.strip().splitlines()[-1]
    assert " failed" in summary, summary
    assert " error" not in summary, summary  # the test itself failed, not its set-up


def test_the_package_without_a_mutant_passes(tmp_path):
    copy_package(tmp_path)
    killers = list(dict.fromkeys(mutant[-1] for mutant in MUTANTS))
    code, log = run_tests(tmp_path, killers)
    assert code == 0, log


def test_another_copy_of_the_package_is_noticed(tmp_path):
    code, _ = run_tests(tmp_path, ["test_layers.py::test_layer_norm_worked_example"])
    assert code == WRONG_COPY  # no copy there, so the tests ran on the installed one


def test_every_historic_bug_so_far_has_a_mutant():
    assert {mutant[0] for mutant in MUTANTS} == {1, 2, 3, 5, 6, 7, 9, 10, 16, 17}


# The child ------------------------------------------------------------------


def run_here(folder, ids):
    """Run the tests in this process, with the copy in front of the path."""
    os.chdir(folder)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.path.insert(0, str(folder))
    # One failure is enough: no further test, and no search for a smaller example.
    hypothesis.settings.register_profile(
        "mutants", phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate]
    )
    hypothesis.settings.load_profile("mutants")
    options = ["-qx", "--tb=line", "-p", "no:cacheprovider"]
    options += [f"--rootdir={TESTS.parent}", *(str(TESTS / name) for name in ids)]
    code = int(pytest.main(options))
    sys.stdout.flush()
    found = Path(sys.modules["marketllm"].__file__).resolve().parent
    return code if found == Path(folder).resolve() / "marketllm" else WRONG_COPY


if __name__ == "__main__":
    sys.exit(run_here(sys.argv[1], sys.argv[2:]))
