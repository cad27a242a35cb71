"""Carry out an experiment by name; without a name, list them."""

import argparse
import logging

import torch

from marketllm.experiments import EXPERIMENTS, carry_out


def main() -> None:
    """Read the command line and do the runs that are still missing."""
    parser = argparse.ArgumentParser(
        prog="python -m marketllm.experiments",
        description="Carry out an experiment; finished runs are kept, not repeated.",
        epilog="experiments: "
        + "; ".join(f"{name}: {found.about}" for name, found in EXPERIMENTS.items()),
    )
    parser.add_argument("name", nargs="?", help="which experiment (none: list them)")
    parser.add_argument("--folder", default="results", help="where the file is kept")
    given = parser.parse_args()
    if given.name is None:
        parser.print_help()
        return
    if given.name not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        parser.error(f"there is no experiment {given.name!r}; choose from: {known}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)  # the same numbers whatever the number of cores
    try:
        path = carry_out(EXPERIMENTS[given.name], given.folder)
    except (ValueError, ModuleNotFoundError) as error:
        parser.exit(1, f"{error}\n")
    logging.info("results are in %s", path)


if __name__ == "__main__":
    main()
