"""Reading HDF5 files, for the data sets that circulate in this format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError


def read_hdf5(path: Path, names: Iterable[str]) -> dict[str, NDArray[np.generic]]:
    """The named arrays of a file; DataError when it is missing, damaged or of another kind."""
    try:
        import h5py
    except ImportError:
        raise DataError(f"{path}: reading it needs h5py; install it with: pip install h5py") from None
    if not path.is_file():
        raise DataError(f"{path}: is not there; give the .h5 file")
    try:
        with h5py.File(path, "r") as file:
            return {name: file[name][()] for name in names}
    except KeyError as error:
        raise DataError(f"{path}: holds other data ({error}); give the original file") from None
    except (OSError, RuntimeError, AttributeError) as error:
        raise DataError(f"{path}: is damaged or no HDF5 file ({error}); get another copy") from None
