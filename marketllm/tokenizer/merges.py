"""The two halves of byte-pair encoding: learn merges, and apply them."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]


def learn_merges(
    words: Sequence[Sequence[int]],
    frequency: Sequence[int],
    first_new: int,
    n_merges: int,
) -> list[Pair]:
    """Join the pair of neighbours that occurs most often, again and again.

    The pairs are counted once. After a merge only the counts of its neighbours
    change, in the words that held the pair. Ties go to the pair with the smaller
    ids.

    Parameters
    ----------
    words : sequence of sequences of int
        The distinct words of a corpus, as ids. No pair reaches across two words.
    frequency : sequence of int
        How often each word occurs.
    first_new : int
        The id that the first merge makes; the next one makes the next id.
    n_merges : int
        How many merges to learn.

    Returns
    -------
    list of (int, int)
        The pairs in the order of learning; fewer if no pair is left.

    References
    ----------
    Sennrich et al. (2016), section 3.2, algorithm 1.
    """
    pieces = [list(word) for word in words]
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)  # the words with a pair
    for i, word in enumerate(pieces):
        for pair in pairwise(word):
            counts[pair] += frequency[i]
            places[pair].add(i)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < n_merges:
        count, best = heapq.heappop(heap)
        if -count != counts[best]:  # fewer by now: look again in its new place
            if counts[best]:
                heapq.heappush(heap, (-counts[best], best))
            continue
        new = first_new + len(merges)
        merges.append(best)
        made = set()
        for i in places.pop(best):
            for pair, change in _join(pieces[i], best, new):
                counts[pair] += change * frequency[i]
                if change > 0:
                    places[pair].add(i)
                    made.add(pair)
        for pair in made:
            if counts[pair]:
                heapq.heappush(heap, (-counts[pair], pair))
    return merges


def apply_merges(ids: Sequence[int], merged: Mapping[Pair, int]) -> list[int]:
    """Join the pairs of one word, the merge learned first before the others.

    A heap holds the merges that may come next, smallest id first, from left to
    right. An entry may be out of date when it comes up, since another merge has
    taken one of its parts. Then the pair is not what it was, and we go on.

    Parameters
    ----------
    ids : sequence of int
        The word, as ids that are not negative.
    merged : mapping of (int, int) to int
        The id that each pair becomes. A merge learned earlier has a smaller id.

    Returns
    -------
    list of int
        The word in as few ids as the merges make of it.

    References
    ----------
    Sennrich et al. (2016), section 3.2.
    """
    n = len(ids)
    ids = [*ids, -1]  # the end, which no merge takes
    before, after = list(range(-1, n)), list(range(1, n + 2))
    heap = [(merged[p], i) for i, p in enumerate(pairwise(ids)) if p in merged]
    heapq.heapify(heap)
    while heap:
        new, i = heapq.heappop(heap)
        right = after[i]
        if merged.get((ids[i], ids[right])) != new:
            continue
        ids[i], ids[right] = new, -1
        after[i] = after[right]
        before[after[i]] = i
        for left in (before[i], i):
            if left >= 0 and (pair := (ids[left], ids[after[left]])) in merged:
                heapq.heappush(heap, (merged[pair], left))
    return [i for i in ids if i >= 0]


def _join(word: list[int], pair: Pair, new: int) -> Iterator[tuple[Pair, int]]:
    """Replace each occurrence of a pair, from left to right, in the word itself.

    Tells which pairs of neighbours are lost (-1) and made (+1) on the way.
    """
    left, right = pair
    i = 0
    while i < len(word) - 1:
        if word[i] == left and word[i + 1] == right:
            if i > 0:
                yield (word[i - 1], left), -1
                yield (word[i - 1], new), 1
            if i + 2 < len(word):
                yield (right, word[i + 2]), -1
                yield (new, word[i + 2]), 1
            word[i : i + 2] = [new]
        i += 1
