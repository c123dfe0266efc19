"""A fixed sample of the fault matrix; test/faults runs all of it. What a cell
checks is in helpers_faults.py."""

import pytest

from helpers_faults import (CELLS, FAULTS, STAGES, UDP, VICTIMS, run,
                            sample)
from helpers_rows import HOSTS
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)

AT_ONCE = 4


def name(cell):
    return "-".join(x.replace(" ", "_") for x in cell)


def test_number():
    """What the matrix has, and that the sample has all of each kind."""
    assert len(CELLS) == 2960 == len(set(CELLS))
    some = sample()
    assert len(some) == 37 == len(set(some))
    assert set(some) <= set(CELLS)
    for i, kinds in enumerate((VICTIMS, FAULTS, STAGES)):
        assert {c[i] for c in CELLS} == set(kinds)
        assert {c[i].removesuffix(UDP) for c in some} == {
            x.removesuffix(UDP) for x in kinds}


@parallel
@pytest.mark.lab(hosts=HOSTS)
@pytest.mark.parametrize("cell", sample(), ids=name)
def test_sample(lab, cell):
    run(lab, *cell)
