"""Synthetic taxi trips that look like Chicago's of 2013 to 2015, for a first run and for tests; and of later years.

Cards become more usual from year to year. From 2016 on, fares rise too, and cards spread faster.

Shares, places, habits of tipping and missing values are those of the City of Chicago's public taxi data; no row is a
real trip.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rng = np.random.Generator

# Community area: share of pickups, latitude and longitude of its middle. 76 and 56 are the airports.
AREAS = {
    8: (0.330, 41.896, -87.628), 32: (0.220, 41.881, -87.627), 28: (0.088, 41.880, -87.649),
    6: (0.080, 41.944, -87.654), 7: (0.062, 41.922, -87.646), 76: (0.060, 41.979, -87.903),
    24: (0.042, 41.901, -87.672), 33: (0.021, 41.857, -87.619), 3: (0.019, 41.965, -87.656),
    56: (0.018, 41.786, -87.751), 77: (0.013, 41.986, -87.664), 22: (0.012, 41.922, -87.695),
    5: (0.008, 41.948, -87.683), 41: (0.006, 41.794, -87.591), 1: (0.006, 42.009, -87.670),
    4: (0.005, 41.975, -87.687), 16: (0.004, 41.954, -87.724), 35: (0.003, 41.836, -87.619),
    39: (0.002, 41.809, -87.595), 14: (0.001, 41.968, -87.722),
}  # fmt: skip
COMPANIES = {
    "": 0.341, "Taxi Affiliation Services": 0.349, "Dispatch Taxi Affiliation": 0.111,
    "Blue Ribbon Taxi Association Inc.": 0.072, "Choice Taxi Association": 0.058, "Northwest Management LLC": 0.036,
    "KOAM Taxi Association": 0.016, "Top Cab Affiliation": 0.008, "Chicago Elite Cab Corp.": 0.004,
    "Chicago Medallion Management": 0.002, "3385 -  Eman Cab": 0.002, "5129 - Mengisti Taxi": 0.001,
}  # fmt: skip
# Departures by hour of the day, UTC.
HOURS = [57, 51, 40, 28, 19, 14, 18, 29, 50, 62, 64, 59, 69, 66, 70, 68, 71, 78, 87, 95, 91, 80, 80, 69]
TRACTS_PER_AREA = 8
FIRST, YEARS = "2013-01-01", 3
FARE_RISE, CARD_RISE = 1.25, 0.6  # a year from 2016 on: of fares, and of the logarithm of the odds of a card


def write_sample(
    path: str | Path, rows: int = 15_000, seed: int = 1, first: str = FIRST, days: int = YEARS * 365
) -> None:
    """Writes a CSV of synthetic trips of so many days from the first on; the same rows for the same seed.

    A passenger who pays cash leaves no recorded tip. One who pays by card tips whole dollars on a short trip, mostly
    two, and a share of the bill on a long one: so the label follows the way of paying and the fare, as in the real
    data, and a model that is good on one is as good on the other.
    """
    rng = np.random.default_rng(seed)
    columns = _trips(rng, rows, np.datetime64(first), days)
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    print(f"{Path(path).name}: {rows:,} synthetic taxi trips, made up to look like Chicago's; none of them is real")


def _trips(rng: Rng, rows: int, first: np.datetime64, days: int) -> dict[str, NDArray[Any]]:
    start, month, day, hour = _times(rng, rows, first, days)
    later = np.maximum(start.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970 - 2015, 0)
    pickup, dropoff = _places(rng, rows), _places(rng, rows)
    miles = _distance(pickup, dropoff) * rng.lognormal(0.0, 0.15, rows) + rng.exponential(0.3, rows)
    seconds = (150 + 120 * miles) * rng.lognormal(0.0, 0.35, rows)
    usual = _fares(rng, miles, seconds)
    fare = np.round(usual * FARE_RISE**later, 2)
    payment = _payments(rng, fare, start - start.min() + (first - np.datetime64(FIRST, "s")).astype(int), later)
    tips = np.where(payment == "Credit Card", _card_tips(rng, fare, usual), 0.0)
    tips[payment == "Unknown"] *= rng.random(int((payment == "Unknown").sum())) < 0.2
    lost = rng.random(rows) < 0.033
    return {
        "pickup_community_area": pickup["area"],
        "fare": fare,
        "trip_start_month": month,
        "trip_start_hour": hour,
        "trip_start_day": day,
        "trip_start_timestamp": start,
        "pickup_latitude": pickup["latitude"],
        "pickup_longitude": pickup["longitude"],
        "dropoff_latitude": _missing(dropoff["latitude"], lost),
        "dropoff_longitude": _missing(dropoff["longitude"], lost),
        "trip_miles": np.where(rng.random(rows) < 0.26, 0.0, np.round(miles, 1)),
        "pickup_census_tract": _missing(pickup["tract"], rng.random(rows) > 1e-3),
        "dropoff_census_tract": _missing(dropoff["tract"], lost | (rng.random(rows) < 0.26)),
        "payment_type": payment,
        "company": _choose(rng, COMPANIES, rows),
        "trip_seconds": np.where(rng.random(rows) < 0.03, 0, np.ceil(seconds / 60) * 60).astype(int),
        "dropoff_community_area": _missing(dropoff["area"], lost),
        "tips": tips,
    }


def _times(rng: Rng, rows: int, first: np.datetime64, many: int) -> tuple[NDArray[Any], ...]:
    """Seconds since 1970, and month, day of the week (Sunday is 1) and hour."""
    days = first + rng.integers(0, many, rows)
    hour = rng.choice(24, rows, p=np.array(HOURS) / sum(HOURS))
    start = days.astype("datetime64[s]").astype(np.int64) + hour * 3600 + rng.integers(0, 4, rows) * 900
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    day = (days.astype("datetime64[D]").astype(np.int64) + 4) % 7 + 1
    return start, month, day, hour


def _places(rng: Rng, rows: int) -> dict[str, NDArray[Any]]:
    """Community area, census tract, and the tract's middle."""
    shares = np.array([share for share, _, _ in AREAS.values()])
    index = rng.choice(len(AREAS), rows, p=shares / shares.sum())
    tract = rng.integers(0, TRACTS_PER_AREA, rows)
    area = np.array(list(AREAS))[index]
    middles = np.array([(latitude, longitude) for _, latitude, longitude in AREAS.values()])[index]
    # The offsets belong to the map, not to the sample: the same tract is at the same place for every seed.
    offsets = np.random.default_rng(0).normal(0, 0.005, (len(AREAS), TRACTS_PER_AREA, 2))[index, tract]
    places = np.round(middles + offsets, 9)
    return {
        "area": area,
        "tract": 17_031_000_000 + area * 10_000 + tract * 100,
        "latitude": places[:, 0],
        "longitude": places[:, 1],
    }


def _distance(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> Floats:
    """Miles by road, a little more than as the crow flies; a degree is 69 miles north, and 51 east, in Chicago."""
    north, east = 69 * (one["latitude"] - other["latitude"]), 51 * (one["longitude"] - other["longitude"])
    miles: Floats = 1.1 * np.hypot(north, east)
    return miles


def _fares(rng: Rng, miles: Floats, seconds: Floats) -> Floats:
    """3.25 or 2.25 at the start, then in steps of 20 cents for distance and for waiting."""
    start = np.where(rng.random(len(miles)) < 0.7, 3.25, 2.25)
    steps = np.round((1.6 * miles + 0.1 * seconds / 60) / 0.2)
    fares: Floats = np.round(start + 0.2 * steps, 2)
    return np.where(rng.random(len(miles)) < 0.002, 0.0, fares)


def _payments(rng: Rng, fare: Floats, since: NDArray[Any], later: NDArray[Any]) -> NDArray[np.str_]:
    """Cards become more usual with the years, and are more usual on long trips; `since` are seconds."""
    years = since / (365 * 86_400)
    odds = np.exp(-2.9 + 0.7 * np.log1p(fare) + 0.35 * years + CARD_RISE * later)
    card = rng.random(len(fare)) < odds / (1 + odds)
    shares = {"": 0.9915, "No Charge": 0.0055, "Unknown": 0.0022, "Dispute": 0.0005, "Pcard": 0.0003}
    rare = _choose(rng, shares, len(fare))
    return np.where(rare != "", rare, np.where(card, "Credit Card", "Cash"))


def _card_tips(rng: Rng, fare: Floats, usual: Floats) -> Floats:
    """Who tips whole dollars is used to the fares before they rose."""
    rows = len(fare)
    short = rng.choice([0.0, 1.0, 2.0, 3.0, 4.0], rows, p=[0.06, 0.15, 0.54, 0.19, 0.06])
    long = rng.choice([0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], rows, p=[0.16, 0.16, 0.14, 0.14, 0.22, 0.1, 0.08])
    dollars = np.where(usual < 15, short, long)
    # A share of the bill is of the fare and its extras: a second passenger, luggage, the airport's tax.
    extras = np.where(fare > 25, rng.choice([0, 2, 4], rows, p=[0.2, 0.4, 0.4]),
                      rng.choice([0, 1, 1.5], rows, p=[0.7, 0.2, 0.1]))  # fmt: skip
    share = rng.choice([0.15, 0.2, 0.25, 0.3], rows, p=[0.06, 0.64, 0.23, 0.07])
    shares = np.floor(100 * share * (fare + extras)) / 100
    in_dollars = rng.random(rows) < np.interp(usual, [10, 11, 20, 25], [0.88, 0.5, 0.33, 0.22])
    tips: Floats = np.where(in_dollars, dollars, shares)
    return tips


def _choose(rng: Rng, shares: dict[str, float], rows: int) -> NDArray[np.str_]:
    weights = np.array(list(shares.values()))
    chosen: NDArray[np.str_] = rng.choice(np.array(list(shares)), rows, p=weights / weights.sum())
    return chosen


def _missing(values: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[np.object_]:
    """The values, empty where they are not known."""
    return np.where(where, "", values.astype(object))
