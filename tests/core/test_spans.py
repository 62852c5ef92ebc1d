"""Sets of indices by their spans: whatever is done to them, they are the sets that Python has."""

from hypothesis import given
from hypothesis import strategies as st

from farmhand.spans import Spans

indices = st.one_of(
    st.builds(range, st.integers(0, 30), st.integers(0, 30)),
    st.lists(st.integers(0, 30), max_size=8),
)
steps = st.lists(st.tuples(st.sampled_from(["add", "remove"]), indices), max_size=12)


@given(steps, indices)
def test_a_history_of_additions_and_removals_leaves_what_a_set_would_have(steps, asked):
    """Also of what is there already, or is not there, overlapping and touching in every way."""
    spans, plain = Spans(), set()
    for what, some in steps:
        getattr(spans, what)(some)
        plain = plain.union(some) if what == "add" else plain.difference(some)
        assert list(spans) == sorted(plain)
        assert len(spans) == len(plain)
    assert spans == plain
    assert spans.has_each(asked) == (plain.issuperset(asked) and len(set(asked)) == len(asked))
    assert [index in spans for index in asked] == [index in plain for index in asked]
    assert spans & set(asked) == plain & set(asked)
    assert (spans <= set(asked), spans.isdisjoint(asked)) == (plain <= set(asked), plain.isdisjoint(asked))


def test_consecutive_indices_are_one_span_however_they_came():
    """So that a million items cost what one costs."""
    spans = Spans([5, 6, 7])
    spans.add(range(1_000_000, 2_000_000))
    spans.add([3, 4])
    assert repr(spans) == "Spans([range(3, 8), range(1000000, 2000000)])"
    assert "x" not in spans
