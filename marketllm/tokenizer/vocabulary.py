"""Tokens, bytes and merges of a byte-pair encoding: of ours, and of a published one."""

from collections.abc import Mapping, Sequence

from marketllm.tokenizer.merges import Pair

SPECIAL = ("<pad>", "<end>", "<mask>")

# GPT-2's order of the 256 bytes: those that Latin-1 shows as a character first.
_SHOWN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTES = (*_SHOWN, *(byte for byte in range(256) if byte not in _SHOWN))


def _trained(
    merges: Sequence[Pair], special: Sequence[str]
) -> tuple[tuple[bytes, ...], dict[int, int], dict[Pair, int]]:
    """Lay out special tokens, bytes and merges; also the id of each byte and pair."""
    n_distinct = len(set(special))
    if special[:3] != SPECIAL or n_distinct < len(special):
        raise ValueError(
            f"the special tokens are {special}: begin with {SPECIAL} and give "
            "each name once."
        )
    first_byte = len(special)
    byte_ids = {byte: first_byte + i for i, byte in enumerate(_BYTES)}
    tokens = [name.encode() for name in special]
    tokens += [bytes([byte]) for byte in _BYTES]
    # The id that a pair becomes: smaller for a merge that was learned earlier.
    merged: dict[Pair, int] = {}
    for left, right in merges:
        if not all(first_byte <= part < len(tokens) for part in (left, right)):
            raise ValueError(
                f"merge {len(merged)} is of the ids {left} and {right}, but "
                f"there it can take ids from {first_byte} to {len(tokens) - 1}: "
                "give the merges in the order of training."
            )
        if (left, right) in merged:
            raise ValueError(
                f"merge {len(merged)}, of the ids {left} and {right}, is "
                "there already: give each pair once."
            )
        merged[left, right] = len(tokens)
        tokens.append(tokens[left] + tokens[right])
    return tuple(tokens), byte_ids, merged


def _published(
    tokens: Sequence[bytes],
    merges: Sequence[Pair],
    special: Mapping[str, int],
    end_id: int,
    unknown_id: int | None,
) -> tuple[dict[int, int], dict[Pair, int]]:
    """Find the id of each byte, and the id that each merge makes."""
    names = {i: name for name, i in special.items()}
    for name, i in special.items():
        if not 0 <= i < len(tokens) or tokens[i] != name.encode():
            there = repr(tokens[i]) if 0 <= i < len(tokens) else "nothing"
            raise ValueError(
                f"special token {name!r} has id {i}, and there stands {there} among "
                f"the {len(tokens)} tokens: give each special token the id of its name."
            )
    for setting, given in (("end_id", end_id), ("unknown_id", unknown_id)):
        if given is not None and given not in special.values():
            raise ValueError(
                f"{setting} is {given}, which is no special token: take one of "
                f"{sorted(special.values())}, so that no text can write it."
            )
    ids: dict[bytes, int] = {}
    for i, token in enumerate(tokens):
        if i not in names and ids.setdefault(token, i) != i:
            raise ValueError(
                f"the ids {ids[token]} and {i} both say {token!r}: "
                "give each token once, so that a merge makes one id."
            )
    byte_ids = {token[0]: i for token, i in ids.items() if len(token) == 1}
    known = set(byte_ids.values())
    merged: dict[Pair, int] = {}
    last = -1
    for left, right in merges:
        if not {left, right} <= known:
            raise ValueError(
                f"merge {len(merged)} is of the ids {left} and {right}, and they are "
                "not both bytes or made by an earlier merge: give the merges in the "
                "order of training."
            )
        new = ids.get(tokens[left] + tokens[right])
        if new is None:
            raise ValueError(
                f"merge {len(merged)} joins {tokens[left]!r} and {tokens[right]!r}, "
                "which is no token of the vocabulary: give vocabulary and merges of "
                "the same tokenizer."
            )
        if new <= last:
            raise ValueError(
                f"merge {len(merged)} makes id {new}, the one before it made {last}: "
                "an earlier merge must make a smaller id here. Give the merges in the "
                "order of training; a vocabulary with ids in another order cannot be "
                "used."
            )
        merged[left, right] = last = new
        known.add(new)
    if unknown_id is not None:
        byte_ids = dict.fromkeys(range(256), unknown_id) | byte_ids
    return byte_ids, merged
