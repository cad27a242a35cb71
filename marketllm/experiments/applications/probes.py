"""Sentences that test a reader of sentiment, in pairs; written before any model ran.

All are invented. Each pair differs in little, and nobody doubts which sentence is the
kinder one. The pairs of ``contrast`` hold the same words in another order: what stands
after *but* counts more.
"""

from typing import NamedTuple


class Pair(NamedTuple):
    """Two sentences that differ in little.

    Attributes
    ----------
    kind : str
        What the pair tests.
    better, worse : str
        The sentence that says the kinder thing, and the other.
    """

    kind: str
    better: str
    worse: str


PAIRS = (
    Pair("negation", "The tea is good.", "The tea is not good."),
    Pair("negation", "I like this coffee.", "I don't like this coffee."),
    Pair("negation", "The biscuits are fresh.", "The biscuits aren't fresh."),
    Pair(
        "negation",
        "I would recommend this honey.",
        "I would never recommend this honey.",
    ),
    Pair("negation", "The service is helpful.", "The service is not helpful."),
    Pair("negation", "It works well.", "It does not work well."),
    Pair("negation", "I am happy with the jam.", "I am not at all happy with the jam."),
    Pair(
        "negation",
        "I think that the coffee is good.",
        "I do not think that the coffee is good.",
    ),
    Pair("negation", "My dog enjoyed it.", "My dog never enjoyed it."),
    Pair(
        "negation",
        "There is flavour in this soup.",
        "There is no flavour in this soup.",
    ),
    Pair(
        "negation",
        "It is worth the money, as my sister told me.",
        "It is not, as my sister told me, worth the money.",
    ),
    Pair(
        "negation",
        "Everybody in my family thought it was great.",
        "Nobody in my family thought it was great.",
    ),
    Pair("double negation", "The tea is not bad.", "The tea is bad."),
    Pair("double negation", "The wait was not terrible.", "The wait was terrible."),
    Pair("double negation", "I was not disappointed.", "I was disappointed."),
    Pair("double negation", "I have no complaints.", "I have complaints."),
    Pair("double negation", "It never leaks.", "It leaks."),
    Pair("double negation", "I can't fault the seller.", "I fault the seller."),
    Pair("double negation", "The price isn't too high.", "The price is too high."),
    Pair(
        "double negation",
        "There was nothing wrong with the parcel.",
        "There was something wrong with the parcel.",
    ),
    Pair(
        "contrast",
        "The delivery was slow, but the tea is wonderful.",
        "The tea is wonderful, but the delivery was slow.",
    ),
    Pair(
        "contrast",
        "The box was ugly, but the sweets are delicious.",
        "The sweets are delicious, but the box was ugly.",
    ),
    Pair(
        "contrast",
        "It is expensive, but I love it.",
        "I love it, but it is expensive.",
    ),
    Pair(
        "contrast",
        "The first cup was awful, but the second was excellent.",
        "The first cup was excellent, but the second was awful.",
    ),
    Pair(
        "contrast",
        "The seller is rude, but the oil is perfect.",
        "The oil is perfect, but the seller is rude.",
    ),
    Pair(
        "contrast",
        "At first I hated it, but now I enjoy it.",
        "At first I enjoy it, but now I hated it.",
    ),
    Pair(
        "contrast",
        "The old recipe was poor, but the new one is superb.",
        "The old recipe was superb, but the new one is poor.",
    ),
    Pair(
        "contrast",
        "The smell is strange, but the taste is lovely.",
        "The taste is lovely, but the smell is strange.",
    ),
    Pair(
        "contrast",
        "It looks cheap, but it works beautifully.",
        "It works beautifully, but it looks cheap.",
    ),
    Pair(
        "contrast",
        "The lid is broken, but the honey is the best I know.",
        "The honey is the best I know, but the lid is broken.",
    ),
    Pair("degree", "The tea is excellent.", "The tea is good."),
    Pair("degree", "I absolutely love this jam.", "I like this jam."),
    Pair("degree", "The soup is good.", "The soup is fairly good."),
    Pair("degree", "The coffee is poor.", "The coffee is disgusting."),
    Pair("degree", "The delivery was a bit slow.", "The delivery was terribly slow."),
    Pair(
        "degree",
        "This is the best chocolate I have ever had.",
        "This is good chocolate.",
    ),
    Pair("degree", "The box was slightly damaged.", "The box was badly damaged."),
    Pair("degree", "It is somewhat bitter.", "It is unbearably bitter."),
    Pair(
        "sarcasm",
        "Great, the parcel came on the promised day.",
        "Great, the parcel came a month after the promised day.",
    ),
    Pair(
        "sarcasm",
        "Thank you for answering my question within the hour.",
        "Thank you for answering my question within the decade.",
    ),
    Pair(
        "sarcasm",
        "I love that the lid opens easily.",
        "I love that the lid opens by itself in my bag.",
    ),
    Pair(
        "sarcasm",
        "What a lovely surprise, an extra packet in the box.",
        "What a lovely surprise, an extra spider in the box.",
    ),
    Pair(
        "sarcasm",
        "Brilliant, all the cups arrived whole.",
        "Brilliant, all the cups arrived in a hundred pieces.",
    ),
    Pair(
        "sarcasm",
        "Perfect for people who enjoy good coffee.",
        "Perfect for people who enjoy dishwater.",
    ),
    Pair(
        "sarcasm",
        "The tea is so fresh that I can smell the garden.",
        "The tea is so fresh that it has begun to move.",
    ),
    Pair(
        "sarcasm",
        "Just what I needed, a second cup.",
        "Just what I needed, a second bill.",
    ),
    Pair("sarcasm", "Five stars, the cat asked for more.", "Five stars, the cat left."),
    Pair(
        "sarcasm",
        "Well done, you sent the right flavour again.",
        "Well done, you sent the wrong flavour again.",
    ),
)
