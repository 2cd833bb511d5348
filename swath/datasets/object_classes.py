"""The classes of data sets of objects, in every order that is published: one table a data set, keyed by its system.

The order is not that of the files and differs between systems; take it from here, never from a sort.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_DIOR_LAE = """
    airplane airport groundtrackfield harbor baseballfield overpass basketballcourt ship bridge stadium storagetank
    tenniscourt Expressway-Service-area trainstation Expressway-toll-station vehicle golffield windmill chimney dam
"""
_DIOR_PAPER = tuple(sorted(_DIOR_LAE.split(), key=str.casefold))

DIOR_ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "paper": _DIOR_PAPER,
        "mmrotate": (*_DIOR_PAPER[:6], *_DIOR_PAPER[7:9], "dam", *_DIOR_PAPER[9:]),
        "lae-dino": tuple(_DIOR_LAE.split()),
    }
)
"""The orders of DIOR's classes: the paper's, alphabetical (also CATNet's, AeroGen's and MutDet's); that of mmrotate's
weights, where only the dam has another place; and LAE-DINO's."""


_DOTA = """
    plane baseball-diamond bridge ground-track-field small-vehicle large-vehicle ship tennis-court basketball-court
    storage-tank soccer-ball-field roundabout harbor swimming-pool helicopter container-crane airport helipad
"""
DOTA_CLASSES = tuple(_DOTA.split())
"""The classes of DOTA 2.0; 1.0 has the first 15 of them and 1.5 the first 16."""


_ISAID = """
    ship storage_tank baseball_diamond tennis_court basketball_court Ground_Track_Field Bridge Large_Vehicle
    Small_Vehicle Helicopter Swimming_pool Roundabout Soccer_ball_field plane Harbor
"""
ISAID_CLASSES = tuple(_ISAID.split())
"""The classes of iSAID by the number of their category."""

_AIRPLANES = "A220 A321 A330 A350 ARJ21 Boeing737 Boeing747 Boeing777 Boeing787 C919 other-airplane"
_LSKNET = """
    Boeing737 Boeing777 Boeing747 Boeing787 A321 A220 A330 A350 C919 ARJ21 other-airplane Passenger_Ship
    Motorboat Fishing_Boat Tugboat Engineering_Ship Liquid_Cargo_Ship Dry_Cargo_Ship Warship other-ship
    Small_Car Bus Cargo_Truck Dump_Truck Van Trailer Tractor Truck_Tractor Excavator other-vehicle
    Baseball_Field Basketball_Court Football_Field Tennis_Court Roundabout Intersection Bridge
"""
FAIR1M_CATEGORIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Airplane": tuple(_AIRPLANES.split()),
        "Ship": (
            "Dry Cargo Ship",
            "Engineering Ship",
            "Fishing Boat",
            "Liquid Cargo Ship",
            "Motorboat",
            "Passenger Ship",
            "Tugboat",
            "Warship",
            "other-ship",
        ),
        "Vehicle": (
            "Bus",
            "Cargo Truck",
            "Dump Truck",
            "Excavator",
            "Small Car",
            "Tractor",
            "Trailer",
            "Truck Tractor",
            "Van",
            "other-vehicle",
        ),
        "Court": ("Baseball Field", "Basketball Court", "Football Field", "Tennis Court"),
        "Road": ("Bridge", "Intersection", "Roundabout"),
    }
)
"""The 37 classes of each of FAIR1M's five categories, as its files spell them."""

FAIR1M_ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "petdet": tuple(sorted(name for names in FAIR1M_CATEGORIES.values() for name in names)),
        "lsknet": tuple(name.replace("_", " ") for name in _LSKNET.split()),
    }
)
"""The orders of FAIR1M's classes: PETDet's, sorted; and that of the weights of LSKNet, LEGNet and Strip R-CNN."""

HRSC2016_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        f"1000000{number}": name
        for number, name in {
            "01": "ship",
            "02": "aircraft carrier",
            "03": "warcraft",
            "04": "merchant ship",
            "05": "Nimitz",
            "06": "Enterprise",
            "07": "Arleigh Burke",
            "08": "WhidbeyIsland",
            "09": "Perry",
            "10": "Sanantonio",
            "11": "Ticonderoga",
            "12": "Kitty Hawk",
            "13": "Kuznetsov",
            "14": "Abukuma",
            "15": "Austen",
            "16": "Tarawa",
            "17": "Blue Ridge",
            "18": "Container",
            "19": "OXo|--)",
            "20": "Car carrier([]==[])",
            "22": "Hovercraft",
            "24": "yacht",
            "25": "CntShip(_|.--.--|_]=",
            "26": "Cruise",
            "27": "submarine",
            "28": "lute",
            "29": "Medical",
            "30": "Car carrier(======|",
            "31": "Ford-class",
            "32": "Midway-class",
            "33": "Invincible-class",
        }.items()
    }
)
"""The classes of HRSC2016 by the number that its files give; 21 and 23 are not used."""


VHR_10_CLASSES = (
    "airplane",
    "ship",
    "storage tank",
    "baseball diamond",
    "tennis court",
    "basketball court",
    "ground track field",
    "harbor",
    "bridge",
    "vehicle",
)
