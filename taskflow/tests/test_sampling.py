"""The marks by which `make test` leaves out slow tests."""

from __future__ import annotations

import pytest

from taskflow.tests.sampling import leave_out_repetitions, spread


@pytest.mark.parametrize(
    ("total", "amount", "expected"),
    [(10, 1, {0}), (10, 2, {0, 9}), (10, 4, {0, 3, 6, 9}), (3, 3, {0, 1, 2}), (2, 5, {0, 1})],
)
def test_sample_is_spread_from_the_first_case_to_the_last(total, amount, expected):
    assert spread(total, amount) == expected


@pytest.mark.sampled(2)
@pytest.mark.parametrize("number", range(5))
def test_cases_outside_the_sample_are_slow(request, number):
    assert (request.node.get_closest_marker("slow") is None) == (number in (0, 4))


class Item:
    def __init__(self, nodeid, *marks):
        self.nodeid, self.marks = nodeid, {*marks}

    def get_closest_marker(self, name):
        return name in self.marks

    def add_marker(self, marker):
        self.marks.add(marker.name)


def test_only_the_first_tests_of_a_module_for_one_database_are_repeated():
    items = [
        Item("a.py::one", "one_database"),
        Item("a.py::two", "one_database"),
        Item("a.py::three", "one_database", "isolation"),
        Item("b.py::one", "one_database"),
        Item("b.py::two"),
    ]

    leave_out_repetitions(items, 1)

    assert [i.nodeid for i in items if "left_out" in i.marks] == ["a.py::two"]


@pytest.mark.proof
def test_proof_is_slow(request):
    assert request.node.get_closest_marker("slow") is not None
