"""Class lists that data sets publish and models learn, in the published order; each stands here once.

>>> len(EUROSAT_CLASSES), len(LOCAL_CLIMATE_ZONES)
(10, 17)
"""

EUROSAT_CLASSES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)
"""Land use and land cover in EuroSAT (Helber et al. 2019), as its folders are named."""

LOCAL_CLIMATE_ZONES = (
    "Compact high rise",
    "Compact mid rise",
    "Compact low rise",
    "Open high rise",
    "Open mid rise",
    "Open low rise",
    "Lightweight low rise",
    "Large low rise",
    "Sparsely built",
    "Heavy industry",
    "Dense trees",
    "Scattered trees",
    "Bush/scrub",
    "Low plants",
    "Bare rock or paved",
    "Bare soil or sand",
    "Water",
)
"""Local climate zones 1 to 10 and A to G (Stewart and Oke 2012), in the order of So2Sat's labels."""
