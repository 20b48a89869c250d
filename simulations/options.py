"""Kinds of numbers that the options of the programs here take."""

import argparse
from collections.abc import Callable


def count(least: int) -> Callable[[str], int]:
    """Take whole numbers from `least` on, and nothing else."""

    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is too few; choose {least} or more")
        return number

    parse.__name__ = "whole number"  # argparse says so of what is none
    return parse


def amount(text: str) -> float:
    """Take numbers above zero, and nothing else."""
    number = float(text)
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no amount; choose more than 0")
    return number
