from __future__ import annotations

import json
import pickle
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from cellprism import embed
from cellprism.embed.transformer_tokens import RankTokenizer, convert_pickled_dictionary, read_dictionary
from cellprism.errors import InputError

GENES = [f"ENSG{i:03d}" for i in range(20)]
TOKENS = {"<pad>": 0, "<mask>": 1, "<cls>": 2, "<eos>": 3, **{g: i + 4 for i, g in enumerate(GENES)}}
MEDIANS = {g: 1.0 + i % 3 for i, g in enumerate(GENES)}


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(1.0, (9, 20)).astype(np.float32))
    return ad.AnnData(counts, pd.DataFrame(index=[f"c{i}" for i in range(9)]), pd.DataFrame(index=GENES))


@pytest.fixture(scope="module")
def tokenizer() -> RankTokenizer:
    return RankTokenizer(TOKENS, MEDIANS, 32)


@pytest.fixture(scope="module")
def model(tokenizer):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from cellprism.embed.transformer import TransformerModel

    config = transformers.BertConfig(
        vocab_size=24,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = transformers.BertModel(config, add_pooling_layer=False)
    return TransformerModel(network, tokenizer, layer=2, batch_size=4)


def test_tokens_are_genes_by_falling_normalised_value() -> None:
    cell = ad.AnnData(sparse.csr_matrix(np.array([[4.0, 0, 6, 6, 1]])), var=pd.DataFrame(index=[*GENES[:4], "other"]))
    tokens = RankTokenizer(TOKENS, MEDIANS, 32)(cell)[0]
    # Values over medians: gene 0 4/1, gene 2 6/3, gene 3 6/1; "other" is not in the dictionary.
    assert list(tokens) == [2, TOKENS[GENES[3]], TOKENS[GENES[0]], TOKENS[GENES[2]], 3]
    assert list(RankTokenizer(TOKENS, MEDIANS, 4)(cell)[0]) == [2, TOKENS[GENES[3]], TOKENS[GENES[0]], 3]
    assert RankTokenizer(TOKENS, MEDIANS, 3, special=False)(cell)[0][0] == TOKENS[GENES[3]]


def test_dictionaries(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"g": 2}))
    (tmp_path / "a.tsv").write_text("g\t2\nh\t3.5\n")
    assert read_dictionary(tmp_path / "a.json") == {"g": 2.0}
    assert read_dictionary(tmp_path / "a.tsv") == {"g": 2.0, "h": 3.5}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"g": 7, "h": np.float64(1.5)}))
    convert_pickled_dictionary(tmp_path / "a.pkl", tmp_path / "b.json")
    assert read_dictionary(tmp_path / "b.json") == {"g": 7.0, "h": 1.5}


def test_states_are_those_of_the_network_itself(cells, model, tokenizer) -> None:
    ids = torch.as_tensor(tokenizer(cells)[3])[None]
    with torch.no_grad():
        oracle = model.network(input_ids=ids, output_hidden_states=True).hidden_states[2][0]
    np.testing.assert_allclose(model.encode(cells)[3], oracle[1:-1].mean(0), atol=1e-5)
    tokens = model.encode_tokens(cells)
    np.testing.assert_allclose(tokens.states[tokens.cell == 3], oracle, atol=1e-5)
    assert list(tokens.gene[tokens.cell == 3]) == [tokenizer.names[int(t)] for t in ids[0]]


def test_token_states_on_disk(cells, model, tmp_path: Path) -> None:
    mapped = model.encode_tokens(cells, tmp_path / "states.npy")
    assert isinstance(mapped.states, np.memmap)
    np.testing.assert_array_equal(np.load(tmp_path / "states.npy"), model.encode_tokens(cells).states)


def test_an_edit_that_changes_nothing_changes_nothing_and_a_real_one_reaches_the_end(cells, model) -> None:
    before, same = model.intervene(cells, lambda H: H)
    np.testing.assert_allclose(before, same, atol=1e-6)
    _, moved = model.intervene(cells, lambda H: H + 1.0 * (np.arange(16) == 0))
    assert np.abs(moved - before).max() > 1e-2
    _, at_the_layer = model.intervene(cells, lambda H: H * 2, read_layer=2)
    np.testing.assert_allclose(at_the_layer, 2 * model.encode(cells), atol=1e-5)
    np.testing.assert_allclose(model.encode(cells), model.encode(cells), atol=0)


def test_an_sae_on_tokens_steers_the_network(cells, model) -> None:
    from cellprism import sae
    from cellprism.steering import steer

    states = model.encode_tokens(cells).states
    fitted = sae.fit(states, sae.SAEConfig(width=24, activation="topk", k=4), epochs=20, holdout=0.0).sae
    live = int(np.asarray((fitted.encode(states) != 0).sum(0)).argmax())
    before, kept = model.intervene(cells, lambda H: steer(fitted, H, live, scale=1.0))
    np.testing.assert_allclose(before, kept, atol=1e-4)
    _, steered = model.intervene(cells, lambda H: steer(fitted, H, live, scale=5.0))
    assert np.abs(steered - before).max() > 1e-3


def test_saving_and_loading(cells, model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    back = embed.load(tmp_path / "model")
    np.testing.assert_allclose(back.encode(cells), model.encode(cells), atol=1e-6)


class Odd:
    def __reduce__(self):
        return (print, ("ran",))


def pickled(folder: Path, content: object) -> Path:
    (folder / "x.pkl").write_bytes(pickle.dumps(content))
    return folder / "x.pkl"


WRONG = {
    "no pad": (lambda c, p: RankTokenizer({"g": 1}, {}), "<pad>"),
    "not counts": (lambda c, p: RankTokenizer(TOKENS, MEDIANS)(ad.AnnData(c.X * 0.5, var=c.var)), "raw counts"),
    "other gene names": (lambda c, p: RankTokenizer(TOKENS, MEDIANS)(ad.AnnData(c.X)), "named as in the token"),
    "pickle instead of JSON": (lambda c, p: read_dictionary(pickled(p, {"g": 1})), "can run code"),
    "code in a pickle": (lambda c, p: convert_pickled_dictionary(pickled(p, Odd()), p / "y.json"), "builtins.print"),
    "no dictionary": (lambda c, p: convert_pickled_dictionary(pickled(p, [1]), p / "y.json"), "dictionary of names"),
    "no file": (lambda c, p: read_dictionary(p / "none.json"), "must exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(cells, tmp_path: Path, capsys, case: str) -> None:
    call, text = WRONG[case]
    with pytest.raises(InputError, match=text):
        call(cells, tmp_path)
    assert capsys.readouterr().out == ""


def test_wrong_use_of_a_network(cells, model, tokenizer, tmp_path: Path) -> None:
    from cellprism.embed.transformer import TransformerModel

    with pytest.raises(InputError, match="from 1 to 3"):
        TransformerModel(model.network, tokenizer, layer=4)
    with pytest.raises(InputError, match="stacked layers"):
        TransformerModel(torch.nn.Linear(2, 2), tokenizer)
    with pytest.raises(InputError, match=r"config\.json"):
        TransformerModel.open(tmp_path, tokenizer)
    with pytest.raises(InputError, match="keep the shape"):
        model.intervene(cells, lambda H: H[:3])
    with pytest.raises(InputError, match="trained here"):
        embed.train("transformer", cells)
