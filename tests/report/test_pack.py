import gzip

import numpy as np
import pytest

from cellprism.report.pack import Quantised, pack, smallest, unpack, varint


def read_varint(data):
    out, value, shift = [], 0, 0
    for byte in data.tolist():
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            out.append(value)
            value, shift = 0, 0
    return out


def test_varint_reads_back():
    values = [0, 1, 127, 128, 300, 16383, 16384, 2097151, 2097152, 2**28 - 1]
    assert read_varint(varint(values)) == values
    assert [len(varint([v])) for v in (127, 128, 16384, 2097152)] == [1, 2, 3, 4]
    assert varint([]).size == 0


@pytest.mark.parametrize(
    ("column", "dtype"),
    [([0, 255], "uint8"), ([256], "uint16"), ([65535], "uint16"), ([65536], "uint32"), ([], "uint8")],
)
def test_smallest_dtype_holds_the_numbers(column, dtype):
    out = smallest(column)
    assert out.dtype == dtype
    assert out.tolist() == column


def test_block_reads_back():
    columns = {
        "a": np.arange(5, dtype=np.uint8),  # five bytes: what follows must be aligned anew
        "b": np.array([1.5, np.nan], dtype=np.float32),
        "c": Quantised([0.1, np.nan, -3.2, np.inf]),
        "empty": np.zeros(0, dtype=np.uint16),
    }
    arrays, meta = unpack(pack(columns, {"names": ["é", "</script>"]}))
    assert meta == {"names": ["é", "</script>"]}
    np.testing.assert_array_equal(arrays["a"], columns["a"])
    np.testing.assert_array_equal(arrays["b"], columns["b"])
    np.testing.assert_allclose(arrays["c"][:3], [0.1, np.nan, -3.2], atol=1e-4)
    assert arrays["c"][3] == pytest.approx(3.2, abs=1e-3)  # infinity reads as the largest number met
    assert arrays["empty"].size == 0


def test_same_columns_give_the_same_bytes():
    assert pack({"a": np.arange(3, dtype=np.uint8)}) == pack({"a": np.arange(3, dtype=np.uint8)})


def test_offsets_are_aligned_for_typed_arrays():
    whole = gzip.decompress(pack({"a": np.arange(3, dtype=np.uint8), "b": np.arange(3, dtype=np.float32)}, {"é": 1}))
    assert int.from_bytes(whole[:4], "little") % 4 == 0
    assert whole.endswith(np.arange(3, dtype="<f4").tobytes())


def test_quantised_error_is_half_a_step():
    values = np.random.default_rng(0).normal(0, 5, 1000)
    whole, step = Quantised(values).encode()
    assert np.abs(whole * step - values).max() <= step / 2 + 1e-12
    assert step == pytest.approx(np.abs(values).max() / 32767)


def test_unknown_dtype_is_refused():
    with pytest.raises(TypeError, match="'a' has dtype int64"):
        pack({"a": np.arange(3)})
