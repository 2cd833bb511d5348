"""Imagery: bands and sensors, grids, pixels, sources, scenes. Only what is light is re-exported here.

`swath.imagery.scene.open_scene` opens imagery; it and the sources load rasterio, the names below do not.
"""

from swath.imagery.bands import Band, Sensor, Unit
from swath.imagery.grid import PIXELS, Affine, Grid
from swath.imagery.pixels import Pixels
from swath.imagery.sensors import sensor, sensor_from_toml, sensors
from swath.imagery.units import Stretch, convert

__all__ = [
    "PIXELS",
    "Affine",
    "Band",
    "Grid",
    "Pixels",
    "Sensor",
    "Stretch",
    "Unit",
    "convert",
    "sensor",
    "sensor_from_toml",
    "sensors",
]
