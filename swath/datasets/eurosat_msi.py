"""EuroSAT with all 13 bands of Sentinel-2."""

from __future__ import annotations

from dataclasses import replace

from swath.datasets.scenes import EUROSAT_RGB, published_lists
from swath.datasets.statistics import BandStatistics
from swath.imagery.bands import Unit
from swath.imagery.sensors import SENTINEL_2_L1C

EUROSAT_MSI = replace(
    EUROSAT_RGB,
    name="eurosat-msi",
    title="EuroSAT: land use and land cover of Europe in 64-pixel Sentinel-2 chips of 13 bands",
    source="GitHub repository phelber/EuroSAT: archive EuroSAT_MS (EuroSATallBands); B8A is the last band of its files",
    # B8A comes last, not after B08.
    bands=(
        *("coastal", "blue", "green", "red", "red_edge_1", "red_edge_2", "red_edge_3", "nir"),
        *("water_vapour", "cirrus", "swir_1", "swir_2", "nir_narrow"),
    ),
    unit=Unit.DN,
    sensor=SENTINEL_2_L1C,
    statistics={
        "image": BandStatistics(
            mean=(
                *(1354.405, 1118.244, 1042.930, 947.626, 1199.473, 1999.791, 2369.223, 2296.826),
                *(732.083, 12.113, 1819.010, 1118.924, 2594.141),
            ),
            std=(
                *(245.718, 333.008, 395.092, 593.751, 566.417, 861.184, 1086.631, 1117.982),
                *(404.920, 4.776, 1002.588, 761.303, 1231.586),
            ),
        )
    },
)
EUROSAT_MSI_TORCHGEO = replace(
    EUROSAT_MSI, name="eurosat-msi-torchgeo", **published_lists("eurosat", train=16_200, validation=5_400, test=5_400)
)
