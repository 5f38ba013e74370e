"""Synthetic applications with the thirteen columns of the public loan problem, for a first run and for tests.

Shares, incomes and missing values are like those of the public data; no row is a real application.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

AREAS = {"Semiurban": 0.37, "Urban": 0.34, "Rural": 0.29}
DEPENDENTS = {"0": 0.6, "1": 0.17, "2": 0.16, "3+": 0.07}
TERMS = {"360": 0.86, "180": 0.08, "480": 0.03, "300": 0.02, "84": 0.01}
# The share of rows in which a column is empty.
MISSING = {"Gender": 0.024, "Married": 0.006, "Dependents": 0.026, "Self_Employed": 0.045, "LoanAmount": 0.04,
           "Loan_Amount_Term": 0.022, "Credit_History": 0.081}  # fmt: skip


def write_sample(path: str | Path, rows: int = 3_000, seed: int = 1) -> None:
    """Writes a CSV of synthetic applications; the same rows for the same seed.

    Who has a bad credit history is refused; else a share is, larger in the country, for those who live alone, and where
    the loan is high for the income.
    """
    columns = _applications(np.random.default_rng(seed), rows)
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    print(f"{Path(path).name}: {rows:,} synthetic applications for loans; none of them is real")


def _applications(rng: np.random.Generator, rows: int) -> dict[str, NDArray[Any]]:
    married, graduate = rng.random(rows) < 0.65, rng.random(rows) < 0.78
    good = rng.random(rows) < 0.84
    area = _choose(rng, AREAS, rows)
    income = np.round(rng.lognormal(8.3, 0.6, rows) * np.where(graduate, 1.1, 0.8)).astype(int)
    joint = np.where(rng.random(rows) < np.where(married, 0.7, 0.3), np.round(rng.lognormal(7.7, 0.65, rows)), 0)
    amount = np.maximum(9, np.round(0.022 * (income + joint) * rng.lognormal(0, 0.35, rows))).astype(int)
    burden = np.log(amount / (0.022 * (income + joint)))
    odds = 1.0 + 0.9 * (area == "Semiurban") - 0.3 * (area == "Rural") + 0.5 * married + 0.3 * graduate - 0.9 * burden
    odds = np.where(good, odds, -3.0)
    approved = rng.random(rows) < 1 / (1 + np.exp(-odds))
    columns: dict[str, NDArray[Any]] = {
        "Loan_ID": np.array([f"LP{number:06d}" for number in range(1, rows + 1)]),
        "Gender": np.where(rng.random(rows) < 0.81, "Male", "Female"),
        "Married": np.where(married, "Yes", "No"),
        "Dependents": np.where(married, _choose(rng, DEPENDENTS, rows), "0"),
        "Education": np.where(graduate, "Graduate", "Not Graduate"),
        "Self_Employed": np.where(rng.random(rows) < 0.14, "Yes", "No"),
        "ApplicantIncome": income,
        "CoapplicantIncome": joint.astype(int),
        "LoanAmount": amount,
        "Loan_Amount_Term": _choose(rng, TERMS, rows),
        "Credit_History": good.astype(int),
        "Property_Area": area,
        "Loan_Status": np.where(approved, "Y", "N"),
    }
    for name, share in MISSING.items():
        columns[name] = np.where(rng.random(rows) < share, "", columns[name].astype(object))
    return columns


def _choose(rng: np.random.Generator, shares: dict[str, float], rows: int) -> NDArray[np.str_]:
    chosen: NDArray[np.str_] = rng.choice(list(shares), rows, p=list(shares.values()))
    return chosen
