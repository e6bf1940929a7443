"""Relative positions: the index rule against exact arithmetic, tables by hand, and the attention's form of the terms."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.models.relpos import key_codes, position_vectors, query_terms, relative_index, resize_table
from tests.models.reference import index_table


def exact_index(num_queries, num_keys):
    rq, rk = max(Fraction(num_keys, num_queries), Fraction(1)), max(Fraction(num_queries, num_keys), Fraction(1))
    rows = [[int(i * rq - j * rk + (num_keys - 1) * rk) for j in range(num_keys)] for i in range(num_queries)]
    return torch.tensor(rows)


# Index.


def test_index_by_hand():
    assert relative_index(3, 3).tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    assert relative_index(4, 2).tolist() == [[2, 0], [3, 1], [4, 2], [5, 3]]
    assert relative_index(2, 4).tolist() == [[3, 2, 1, 0], [5, 4, 3, 2]]
    assert relative_index(1, 1).tolist() == [[0]]
    assert relative_index(3, 2).tolist() == [[1, 0], [2, 1], [3, 2]]  # 1.5 and 0, 2.5 and 1, 3.5 and 2
    assert relative_index(2, 2).dtype == torch.int64


@pytest.mark.parametrize(("small", "ratio"), [(7, 1), (7, 2), (7, 4), (7, 8), (11, 2), (5, 3), (12, 4), (20, 2)])
def test_index_is_exact_at_whole_ratios(small, ratio):
    assert torch.equal(relative_index(small, small * ratio), exact_index(small, small * ratio))
    assert torch.equal(relative_index(small * ratio, small), exact_index(small * ratio, small))


@pytest.mark.parametrize(
    ("queries", "keys", "differences"),
    [(39, 10, 38), (78, 10, 103), (39, 20, 0), (20, 20, 0), (20, 10, 0), (10, 20, 0), (10, 10, 0)],
)
def test_index_differs_from_exact_arithmetic_as_the_official_code_does(queries, keys, differences):
    index, exact = relative_index(queries, keys), exact_index(queries, keys)
    assert (index != exact).sum() == differences
    assert (exact - index).unique().tolist() == ([0, 1] if differences else [0])


def test_index_at_39_queries_and_10_keys_falls_short_in_the_last_column():
    wrong = relative_index(39, 10) != exact_index(39, 10)
    assert wrong[1:, 9].all() and not wrong[0].any() and not wrong[:, :9].any()


@given(queries=st.integers(1, 90), keys=st.integers(1, 90))
def test_index_stays_within_the_table(queries, keys):
    index = relative_index(queries, keys)
    assert index.shape == (queries, keys)
    assert index.min() >= 0 and index.max() <= 2 * max(queries, keys) - 2
    assert (index.diff(dim=0) >= 0).all() and (index.diff(dim=1) <= 0).all()


@given(queries=st.integers(1, 40), keys=st.integers(1, 40))
def test_index_follows_the_float_rule(queries, keys):
    assert torch.equal(relative_index(queries, keys), torch.from_numpy(index_table(queries, keys)))


# Tables.


def test_resized_table_by_hand():
    table = torch.tensor([[0.0, 1.0], [4.0, 1.0], [8.0, 1.0]])
    # Row r of 5 lies at (r + 0.5) * 3/5 - 0.5 = -0.2, 0.4, 1.0, 1.6, 2.2, held within 0 .. 2.
    expected = torch.tensor([[0.0, 1.0], [1.6, 1.0], [4.0, 1.0], [6.4, 1.0], [8.0, 1.0]])
    torch.testing.assert_close(resize_table(table, 5), expected)
    # Row r of 2 lies at 0.25 and 1.75.
    torch.testing.assert_close(resize_table(table, 2), torch.tensor([[1.0, 1.0], [7.0, 1.0]]))


def test_a_table_that_fits_is_the_same_tensor():
    table = torch.randn(5, 2)
    assert resize_table(table, 5) is table


def test_resized_table_keeps_its_type():
    table = torch.arange(6, dtype=torch.bfloat16).view(3, 2)
    assert resize_table(table, 5).dtype == torch.bfloat16


def test_resize_passes_gradients():
    table = torch.zeros(3, 1, requires_grad=True)
    resize_table(table, 5)[1].sum().backward()
    torch.testing.assert_close(table.grad, torch.tensor([[0.6], [0.4], [0.0]]))


def test_position_vectors():
    table = torch.arange(5.0)[:, None].repeat(1, 2)
    assert position_vectors(table, 3, 3)[..., 0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    # 2 queries and 2 keys need 3 rows of the 5: at 1/3, 2 and 11/3.
    vectors = position_vectors(table, 2, 2)[..., 1]
    torch.testing.assert_close(vectors, torch.tensor([[2.0, 1 / 3], [11 / 3, 2.0]]))


# Terms.


def test_key_codes_by_hand():
    expected = [[1, 0, 1, 0, 0], [1, 0, 0, 1, 0], [1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 1, 0, 0, 1]]
    assert key_codes((2, 3), (0, 1)).tolist() == expected
    assert key_codes((2, 3), (1,)).tolist() == [row[2:] for row in expected]
    assert key_codes((2, 3), (0, 1), 1, 2).tolist() == [[0] * 7, *([*row, 0, 0] for row in expected)]


@pytest.mark.parametrize(
    ("q_grid", "k_grid", "with_table"),
    [
        ((2, 4, 3), (2, 2, 3), (True, True, True)),
        ((2, 4, 3), (2, 2, 3), (False, True, True)),
        ((2, 4, 3), (2, 2, 3), (True, False, False)),
        ((1, 3, 5), (2, 4, 2), (True, True, True)),
        ((4, 3), (2, 5), (True, True)),
        ((3, 3), (3, 3), (False, True)),
    ],
)
def test_terms_times_codes_are_the_plain_sum(q_grid, k_grid, with_table):
    generator = torch.Generator().manual_seed(0)
    B, heads, D = 2, 2, 3
    rows = [2 * max(q, k) - 1 for q, k in zip(q_grid, k_grid, strict=True)]
    tables = [torch.randn(r, D, generator=generator) if on else None for r, on in zip(rows, with_table, strict=True)]
    queries = [tuple(p) for p in torch.cartesian_prod(*map(torch.arange, q_grid)).tolist()]
    keys = [tuple(p) for p in torch.cartesian_prod(*map(torch.arange, k_grid)).tolist()]
    q = torch.randn(B, len(queries), heads, D, generator=generator)

    terms = torch.cat(query_terms(q, tables, q_grid, k_grid), dim=-1)
    codes = key_codes(k_grid, tuple(axis for axis, on in enumerate(with_table) if on))
    actual = terms @ codes.T

    exact = [exact_index(a, b) for a, b in zip(q_grid, k_grid, strict=True)]
    for n, query in enumerate(queries):
        for m, key in enumerate(keys):
            expected = torch.zeros(B, heads)
            for axis, table in enumerate(tables):
                if table is not None:
                    expected = expected + q[:, n] @ table[exact[axis][query[axis], key[axis]]]
            torch.testing.assert_close(actual[:, n, :, m], expected, rtol=1e-5, atol=1e-5)


# What is kept between calls.


def test_cached_tensors_serve_training_after_inference():
    relative_index.cache_clear()
    key_codes.cache_clear()
    table, q = torch.randn(5, 2, requires_grad=True), torch.randn(1, 9, 1, 2)

    def term_sum():
        terms = torch.cat(query_terms(q, [table, table], (3, 3), (3, 3)), dim=-1)
        return (terms @ key_codes((3, 3), (0, 1)).T).sum()

    with torch.inference_mode():
        inferred = term_sum()
    term_sum().backward()
    assert table.grad is not None
    assert not relative_index(3, 3).is_inference() and not key_codes((3, 3), (0, 1)).is_inference()
    assert inferred.item() == pytest.approx(term_sum().item())


def test_cached_tensors_are_real_although_first_asked_for_on_the_meta_device():
    relative_index.cache_clear()
    key_codes.cache_clear()
    with torch.device("meta"):
        relative_index(2, 2)
        key_codes((2, 2), (0, 1))
    assert relative_index(2, 2).tolist() == [[1, 0], [2, 1]]
    assert key_codes((2, 2), (0,)).device.type == key_codes((2, 2), (0, 1)).device.type == "cpu"
