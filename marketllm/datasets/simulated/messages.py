"""Messages of simulated customers: each sentence pleads for the label or against it."""

import numpy as np
from numpy.typing import NDArray

_PRODUCTS = ("tea", "coffee", "jam", "honey", "soup", "cheese", "bread", "juice")
_FRIENDS = ("sister", "neighbour", "mother", "colleague", "brother", "aunt")
_NUMBERS = ("two", "three", "four", "six")
# Each word with a meaning stands on one side only, so the side can be read off.
_SIDES = {
    1: (
        "I love the {product}, it tastes wonderful.",
        "When is the {product} available again? I want to order {number}.",
        "My {friend} adores the {product}, please reserve {number} for us.",
        "Excellent {product}, I shall gladly buy more.",
        "Can I subscribe to the {product}? We enjoy it every morning.",
        "Delicious {product} and fast delivery, thank you.",
        "I recommended the {product} to my {friend}, who is delighted.",
        "The best {product} for years, keep {number} for me.",
    ),
    0: (
        "I have a question about the {product}.",
        "My {friend} asked where the {product} is made.",
        "The parcel with {number} packets of {product} is here.",
        "Please change the address for the {product}.",
        "Does the {product} need to be kept in the fridge?",
        "How much does the {product} weigh, and what is in it?",
        "I ordered the {product} with the app of my {friend}.",
        "The bill lists {number} packets of {product}.",
    ),
    -1: (
        "The {product} arrived broken and I want a refund.",
        "I am disappointed, the {product} is stale.",
        "The {product} came {number} weeks late, this is annoying.",
        "Awful {product}, even my {friend} threw it away.",
        "Cancel the {product}, it is overpriced and the taste is bitter.",
        "Nobody answers my complaint about the {product}.",
        "The {product} leaked over {number} other things, terrible packing.",
        "Never again this {product}, the quality is poor.",
    ),
}
_GREETINGS = ("", "Hello.", "Good morning.", "Dear team,", "Hi there.")
_CLOSINGS = ("", "Kind regards.", "Yours, a customer.", "Bye.")


def _draw_messages(
    n: int, rng: np.random.Generator
) -> tuple[list[str], NDArray[np.float64]]:
    """Write n messages of two sentences, and give what they add at strength 1.

    Each sentence is for, neutral or against with chance 1/3: +1, 0 or -1. The sum
    of both times sqrt(3) / 2 has mean 0 and standard deviation 1.
    """
    sides = rng.integers(-1, 2, size=(n, 2))
    picks = rng.random((n, 2, 4))
    frame = rng.random((n, 2))
    texts = []
    for row in range(n):
        sentences = [
            _sentence(int(side), pick)
            for side, pick in zip(sides[row], picks[row], strict=True)
        ]
        parts = [
            _pick(_GREETINGS, frame[row, 0]),
            *sentences,
            _pick(_CLOSINGS, frame[row, 1]),
        ]
        texts.append(" ".join(part for part in parts if part))
    return texts, sides.sum(axis=1) * np.sqrt(3) / 2


def _sentence(side: int, pick: NDArray[np.float64]) -> str:
    return _pick(_SIDES[side], pick[0]).format(
        product=_pick(_PRODUCTS, pick[1]),
        friend=_pick(_FRIENDS, pick[2]),
        number=_pick(_NUMBERS, pick[3]),
    )


def _pick(words: tuple[str, ...], share: float) -> str:
    return words[int(share * len(words))]
