"""Historic bugs of this field, put into a copy of the package: tests must fail.

The loss goes down with most of these bugs. Each row of ``MUTANTS`` has the
number in the list of historic bugs (0: of our own making), what is wrong, the file,
the text replaced (it occurs once), its replacement, and the test that must kill it.
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

OURS = 0
SCALE = "/ math.sqrt(query.shape[-1])"
MUTANTS = [
    (
        1,
        "scores divided by the root of d_model in place of d_k",
        "attention/function.py",
        SCALE,
        "/ math.sqrt(query.shape[-1] * (query.shape[1] if query.ndim == 4 else 1))",
        "test_attention.py::test_self_attention_equals_torch",
    ),
    (
        2,
        "scores not scaled at all",
        "attention/function.py",
        SCALE,
        "",
        "test_attention.py::test_attention_equals_torch",
    ),
    (
        3,
        "Var(q.k) taken to be d_k squared: divided by d_k",
        "attention/function.py",
        SCALE,
        "/ query.shape[-1]",
        "test_attention.py::test_scores_have_variance_1_at_every_width",
    ),
    (
        4,
        "Adam without v-hat",
        "optim.py",
        "(v.sqrt() / correction2**0.5)",
        "v.sqrt()",
        "test_optim.py::test_three_adam_steps_by_hand",
    ),
    (
        4,
        "Adam's second correction with beta squared, not beta to the t",
        "optim.py",
        'correction2 = 1 - beta2 ** state["t"]',
        "correction2 = 1 - beta2**2",
        "test_optim.py::test_three_adam_steps_by_hand",
    ),
    (
        4,
        "Adam without any correction",
        "optim.py",
        'correction1 = 1 - beta1 ** state["t"]  # m_hat = m / correction1\n'
        '    correction2 = 1 - beta2 ** state["t"]',
        "correction1 = 1.0\n    correction2 = 1.0",
        "test_optim.py::test_a_constant_gradient_moves_adam_by_alpha_each_step",
    ),
    (
        4,
        "the article's denominator in place of Adam",
        "optim.py",
        'weight.addcdiv_(m, denominator, value=-group["lr"] / correction1)',
        'alpha = -group["lr"] / (1 - beta1 ** state["t"] - beta2 ** state["t"])\n'
        "    weight.add_(gradient, alpha=alpha)",
        "test_optim.py::test_three_adam_steps_by_hand",
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
        "models/encoder_decoder.py",
        "x = self.encoder.embedding(target)",
        "x = self.encoder.embedding(source)[:, : target.shape[1]]",
        "models/test_encoder_decoder.py::test_encoder_decoder_equals_the_stack_of_torch",
    ),
    (
        7,
        "the decoder looks across at the encoder's input, not its output",
        "models/encoder_decoder.py",
        "memory = self.encoder(source)",
        "memory = self.encoder.embedding(source)",
        "models/test_encoder_decoder.py::test_encoder_decoder_equals_the_stack_of_torch",
    ),
    (
        8,
        "residual initialisation scaled on the wrong matrix",
        "models/language.py",
        "nn.init.normal_(block.feed_forward.outer.weight, std=small)",
        "nn.init.normal_(block.feed_forward.inner.weight, std=small)",
        "models/test_language.py::test_standard_deviation_by_layer",
    ),
    (
        8,
        "residual initialisation scaled on the queries, not the output",
        "models/language.py",
        "nn.init.normal_(block.self_attention.to_output.weight, std=small)",
        "nn.init.normal_(block.self_attention.to_query.weight, std=small)",
        "models/test_language.py::test_standard_deviation_by_layer",
    ),
    (
        9,
        "W_O sized by d_k where d_v differs",
        "attention/multi_head.py",
        "Linear(n_heads * d_value, d_model, bias)",
        "Linear(n_heads * d_key, d_model, bias)",
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
        12,
        "label smoothing takes the logarithm of 0",
        "losses.py",
        "rows - log_sum_exp(rows).unsqueeze(-1)",
        "rows.softmax(dim=-1).log()",
        "test_losses.py::test_extreme_logits_equal_torch",
    ),
    (
        13,
        "with a cache, the mask is off by one: a token does not see itself",
        "models/llama.py",
        "causal_mask(n_before + n_new)[n_before:]",
        "causal_mask(n_before + n_new).tril(-1)[n_before:]",
        "generation/test_tokens.py::test_logits_of_a_left_padded_batch_read_in_parts",
    ),
    (
        13,
        "with a cache, the mask is off by one: a token sees the next",
        "models/llama.py",
        "causal_mask(n_before + n_new)[n_before:]",
        "causal_mask(n_before + n_new + 1)[n_before + 1 :, :-1]",
        "generation/test_tokens.py::test_logits_of_a_left_padded_batch_read_in_parts",
    ),
    (
        13,
        "places start again at 0 behind a cache",
        "attention/multi_head.py",
        "start = 0 if past is None else past.length",
        "start = 0",
        "generation/test_tokens.py::test_cached_equals_uncached",
    ),
    (
        13,
        "padding on the left is not hidden",
        "generation/tokens.py",
        "return ids, torch.arange(n_columns) >= n_columns - n_real",
        "return ids, None",
        "generation/test_tokens.py::test_a_text_is_written_as_if_alone",
    ),
    (
        13,
        "the cache forgets which tokens were padding",
        "cache.py",
        "if real is None and self.real is None:",
        "if real is None:",
        "generation/test_tokens.py::test_a_text_is_written_as_if_alone",
    ),
    (
        13,
        "the last column is read, not the last token",
        "generation/tokens.py",
        "rows, last = range(len(texts)), [len(text) - 1 for text in texts]",
        "rows, last = range(len(texts)), -1",
        "generation/test_tokens.py::test_texts_of_a_gpt_are_written_as_if_alone",
    ),
    (
        14,
        "lift by a plain sort: rows of one score stand as in the file",
        "evaluation/curves.py",
        "_, place = np.unique(-values, return_inverse=True)",
        'place = np.argsort(np.argsort(-values, kind="stable"))',
        "evaluation/test_metrics.py::test_a_list_sorted_by_class_gains_nothing",
    ),
    (
        14,
        "average precision of a plain sort",
        "evaluation/metrics.py",
        "average_precision_score(truth, values)",
        "average_precision_score(truth, np.argsort(np.argsort(values)))",
        "evaluation/test_metrics.py::test_a_list_sorted_by_class_gains_nothing",
    ),
    (
        14,
        "scores of all models ranked in one table",
        "evaluation/runs.py",
        "metric(drawn, run[rows])",
        "metric(drawn, (np.ravel(ours + theirs) < run[rows, None]).mean(1))",
        "evaluation/test_compare_runs.py::test_the_estimate_is_the_difference_of_"
        "the_mean_metrics",
    ),
    (
        15,
        "the label leaks into the prompt: a text is among its own examples",
        "prompting/classifier.py",
        "if copy_key(row) in known:",
        "if False:",
        "test_prompting.py::test_a_text_among_the_examples_is_refused",
    ),
    (
        15,
        "the label leaks into the prompt: it stands where it is asked for",
        "prompting/prompt.py",
        "return self._start() + self._question(text)",
        'return self._start() + self._question(text) + f" {self.label_words[-1]}"',
        "test_prompting.py::test_the_label_words_stand_behind_examples_alone",
    ),
    (
        16,
        "padding is attended to by the encoder",
        "models/encoder.py",
        "x = block(x, mask)",
        "x = block(x)",
        "models/test_encoder.py::test_padding_does_not_change_vectors",
    ),
    (
        16,
        "padding of the source is attended to by the decoder",
        "models/encoder_decoder.py",
        "x = block(x, memory, mask, memory_mask)",
        "x = block(x, memory, mask)",
        "models/test_encoder_decoder.py::test_padding_does_not_change_the_decoder",
    ),
    (
        16,
        "padding is counted in the mean",
        "models/classifier.py",
        "return total / real.sum(dim=1)",
        "return total / real.shape[1]",
        "models/test_classifier.py::test_padding_does_not_change_the_class",
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
        "models/test_encoder.py::test_examples_of_an_encoder_do_not_see_each_other",
    ),
    (
        OURS,
        "GPT without the causal mask",
        "models/language.py",
        "Encoder(config, causal=True)",
        "Encoder(config)",
        "models/test_language.py::test_a_later_token_never_changes_a_logit_of_gpt",
    ),
    (
        OURS,
        "rotary positions: the sign of one sine",
        "positions.py",
        "[first * cosine - second * sine, first * sine + second * cosine]",
        "[first * cosine + second * sine, first * sine + second * cosine]",
        "test_positions.py::test_scores_depend_on_the_distance_alone",
    ),
    (
        OURS,
        "masked-LM loss on all positions",
        "batches/masked.py",
        "return corrupted, ids.where(chosen, IGNORE)",
        "return corrupted, ids",
        "batches/test_masked.py::test_what_is_not_chosen_stays_and_is_not_asked_for",
    ),
    (
        OURS,
        "masked-LM without 80/10/10",
        "batches/masked.py",
        "~chosen | (fate >= 0.8)",
        "~chosen",
        "batches/test_masked.py::test_shares_are_those_of_bert",
    ),
    (
        OURS,
        "next-token targets are not shifted",
        "batches/next_token.py",
        "targets.roll(1)",
        "targets",
        "batches/test_next_token.py::test_the_target_is_the_token_that_follows",
    ),
    (
        OURS,
        "the temperature is ignored",
        "generation/sampling.py",
        """logits = (logits - largest) / min(
        max(sampling.temperature, limits.tiny), limits.max
    )""",
        "logits = logits - largest",
        "generation/test_sampling.py::test_worked_examples",
    ),
    (
        OURS,
        "top-p keeps the set before the one that reaches it",
        "generation/sampling.py",
        "dropped = reached <= 1 - top_p",
        "dropped = reached - ascending.softmax(dim=-1) <= 1 - top_p",
        "generation/test_sampling.py::test_worked_examples",
    ),
    (
        OURS,
        "half a character is written",
        "generation/text.py",
        "yield decoder.decode(tokenizer.tokens[token])",
        'yield tokenizer.tokens[token].decode(errors="replace")',
        "generation/test_text.py::test_the_pieces_do_not_depend_on_the_tokens",
    ),
    (
        OURS,
        "resume forgets the optimiser's moments",
        "training/state.py",
        'self._restore_optimizer(tensors, facts["optimizer"])',
        "pass",
        "test_resume.py::test_stopped_anywhere_it_ends_the_same[frozen]",
    ),
    (
        OURS,
        "resume forgets the random state",
        "training/state.py",
        'self._set_random_states(_part(tensors, "random/now/"))',
        "pass",
        "test_resume.py::test_stopped_anywhere_it_ends_the_same[frozen]",
    ),
    (
        OURS,
        "accumulated gradients are added, not averaged",
        "training/loop.py",
        "* (n / sum(n_targets))",
        "* 1.0",
        "test_training.py::test_an_accumulated_update_is_that_of_the_one_big_batch",
    ),
    (
        OURS,
        "the checkpoint is written in place",
        "checkpoints.py",
        'path.with_name(f".{path.name}.{os.getpid()}.tmp")',
        "path",
        "test_checkpoints.py::test_a_full_disk_leaves_the_old_file",
    ),
    (
        OURS,
        "the checksum is not looked at",
        "checkpoints.py",
        "if not _is_whole(data, end, metadata):",
        "if False:",
        "test_checkpoints.py::test_a_changed_byte_anywhere_is_refused",
    ),
    (
        OURS,
        "the mean loss is a mean of batch means",
        "training/measure.py",
        "n = _n_targets(batch)\n",
        "n = 1\n",
        "test_training.py::test_mean_loss_worked_example",
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
    assert {mutant[0] for mutant in MUTANTS} == {
        *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17),
        OURS,
    }


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
