"""Transformers over genes: hidden states of a layer as the embedding, and edits of them run through the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellprism.embed.base import split_modalities
from cellprism.embed.files import read_model, write_model
from cellprism.embed.transformer_tokens import RankTokenizer
from cellprism.errors import InputError

__all__ = ["TokenStates", "TransformerModel"]


class TokenStates(NamedTuple):
    """Hidden states a token."""

    states: NDArray[np.float32]
    """(tokens, d), a memory map where a path was given."""
    cell: NDArray[np.int64]
    """(tokens,) row of the cell."""
    gene: NDArray[np.str_]
    """(tokens,) gene, or special token."""


class TransformerModel:
    """A Hugging Face encoder with its tokenizer; embeds, and has no decoder into expression.

    Parameters
    ----------
    network
        An encoder such as ``transformers.BertModel``.
    tokenizer
        Turns counts into tokens.
    layer
        Whose output is read: 1 is the first, the number of layers the last; negative ones count from the end.
    batch_size
        Cells at a time.
    """

    name = "transformer"

    def __init__(self, network: nn.Module, tokenizer: RankTokenizer, *, layer: int = -2, batch_size: int = 16) -> None:
        self.network, self.tokenizer, self.batch_size = network.eval(), tokenizer, batch_size
        n = len(blocks(network))
        self.layer = layer + n + 1 if layer < 0 else layer
        if not 1 <= self.layer <= n:
            raise InputError(f"the layer must be from 1 to {n}, or from -{n} to -1", f"{layer}", "choose another")
        special = {"<pad>", "<cls>", "<eos>", "<mask>"}
        self.genes = {"rna": [g for g in tokenizer.tokens if g not in special]}
        self.modalities = ("rna",)

    @classmethod
    def open(
        cls, folder: str | Path, tokenizer: RankTokenizer, *, layer: int = -2, batch_size: int = 16
    ) -> TransformerModel:
        """Read an encoder from a folder in Hugging Face's format (``config.json``, ``model.safetensors``)."""
        library()
        from transformers import AutoModel  # type: ignore[import-not-found, unused-ignore]

        if not (Path(folder) / "config.json").is_file():
            raise InputError(
                "the folder must hold a Hugging Face model", f"no config.json in {folder}", "download it first"
            )
        network = AutoModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
        return cls(network, tokenizer, layer=layer, batch_size=batch_size)

    def encode(self, adata: Any) -> NDArray[np.float32]:
        """Mean hidden state over a cell's genes (special tokens left out), (cells, d) float32."""
        return np.concatenate([pooled(h, m) for h, _, m in self._run(adata, self.layer)])

    def encode_tokens(self, adata: Any, path: str | Path | None = None) -> TokenStates:
        """Hidden state of every token, so that an SAE can be fitted on tokens.

        Parameters
        ----------
        adata
            Raw counts.
        path
            ``.npy`` file to write the states to, batch by batch; they are then read back as a memory map.
        """
        tokens = self.tokenizer(split_modalities(adata)["rna"])
        n, width = sum(map(len, tokens)), int(self.network.config.hidden_size)  # type: ignore[union-attr, arg-type]
        if path is None:
            states = np.empty((n, width), np.float32)
        else:
            states = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, width))
        start = 0
        for h, mask, _ in self._run(adata, self.layer):
            rows = h[mask]
            states[start : start + len(rows)] = rows.numpy()
            start += len(rows)
        if isinstance(states, np.memmap):
            states.flush()
        names = self.tokenizer.names
        cell = np.repeat(np.arange(len(tokens)), [len(t) for t in tokens])
        return TokenStates(states, cell, np.asarray([names[int(t)] for c in tokens for t in c]))

    def intervene(
        self, adata: Any, edit: Callable[[NDArray[np.float32]], NDArray[Any]], *, read_layer: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Edit the hidden states of the layer and run the rest of the network.

        Parameters
        ----------
        adata
            Raw counts.
        edit
            From (tokens, d) states to edited ones; with an SAE fitted on tokens
            ``lambda H: cellprism.steering.steer(sae, H, feature, scale=2.0)``, which keeps the residual.
        read_layer
            Whose output is read; None = the last.

        Returns
        -------
        before, after
            Mean states of each cell's genes, (cells, d).
        """
        last = len(blocks(self.network)) if read_layer is None else read_layer
        before = np.concatenate([pooled(h, m) for h, _, m in self._run(adata, last)])
        after = np.concatenate([pooled(h, m) for h, _, m in self._run(adata, last, edit)])
        return before, after

    def save(self, path: str | Path) -> None:
        """Write the encoder (Hugging Face's format), the token files and ``model.json``."""
        self.network.save_pretrained(Path(path) / "network", safe_serialization=True)  # type: ignore[operator]
        t = self.tokenizer
        settings = {
            "layer": self.layer,
            "batch_size": self.batch_size,
            "max_length": t.max_length,
            "special": t.special,
        }
        write_model(path, self.name, settings, {})
        for name, content in (("tokens", t.tokens), ("medians", t.medians)):
            (Path(path) / f"{name}.json").write_text(json.dumps(dict(content)), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> TransformerModel:
        """Read a model that :meth:`save` wrote."""
        settings, _ = read_model(path, cls.name)
        tokens, medians = (
            json.loads((Path(path) / f"{n}.json").read_text(encoding="utf-8")) for n in ("tokens", "medians")
        )
        tokenizer = RankTokenizer(tokens, medians, settings["max_length"], settings["special"])
        return cls.open(Path(path) / "network", tokenizer, layer=settings["layer"], batch_size=settings["batch_size"])

    @torch.no_grad()
    def _run(
        self, adata: Any, layer: int, edit: Callable[[NDArray[np.float32]], NDArray[Any]] | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """States (cells, length, d) of a layer, the mask of tokens, and that of genes, batch by batch."""
        tokens = self.tokenizer(split_modalities(adata)["rna"])
        pad = self.tokenizer.tokens["<pad>"]
        special = torch.tensor([t for g, t in self.tokenizer.tokens.items() if g.startswith("<")])
        device = next(self.network.parameters()).device
        for begin in range(0, len(tokens), self.batch_size):
            part = tokens[begin : begin + self.batch_size]
            ids = torch.full((len(part), max([1, *map(len, part)])), pad)
            for row, t in zip(ids, part, strict=True):
                row[: len(t)] = torch.as_tensor(t)
            mask = ids != pad
            with edited(self.network, self.layer, mask.to(device), edit):
                caught: list[Tensor] = []
                hook = blocks(self.network)[layer - 1].register_forward_hook(
                    lambda _m, _i, o, to=caught: to.append(first(o))
                )
                try:
                    self.network(input_ids=ids.to(device), attention_mask=mask.long().to(device))
                finally:
                    hook.remove()
            yield caught[0].float().cpu(), mask, mask & ~torch.isin(ids, special)


def library() -> Any:
    """The transformers module, or an :class:`InputError` that names the extra."""
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            "transformer embeddings need transformers", str(error), "pip install 'cellprism[transformers]'"
        ) from error
    return transformers


def blocks(network: nn.Module) -> Sequence[nn.Module]:
    """The network's layers: its first list of as many modules as the config names."""
    n = getattr(getattr(network, "config", None), "num_hidden_layers", None)
    for module in network.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n:
            return list(module)
    raise InputError(
        "the network must be an encoder of stacked layers", type(network).__name__, "give a BERT-like model"
    )


def first(output: Any) -> Tensor:
    """Hidden states of a layer's output, which some versions wrap in a tuple."""
    out: Tensor = output[0] if isinstance(output, tuple) else output
    return out


def pooled(states: Tensor, mask: Tensor) -> NDArray[np.float32]:
    """Mean over the masked tokens, (cells, d); zero for a cell without any."""
    weight = mask.float()[:, :, None]
    return np.asarray((states * weight).sum(1) / weight.sum(1).clamp_min(1), dtype=np.float32)


@contextmanager
def edited(
    network: nn.Module, layer: int, mask: Tensor, edit: Callable[[NDArray[np.float32]], NDArray[Any]] | None
) -> Iterator[None]:
    """Replace a layer's output at the tokens of ``mask`` by what ``edit`` makes of it."""
    if edit is None:
        yield
        return

    def replace(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        states = first(output).clone()
        new = np.asarray(edit(states[mask].float().cpu().numpy()), dtype=np.float32)
        if new.shape != (int(mask.sum()), states.shape[-1]):
            raise InputError("an edit must keep the shape of the states", f"{new.shape}", "return one row a token")
        states[mask] = torch.as_tensor(new, device=states.device, dtype=states.dtype)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    hook = blocks(network)[layer - 1].register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()
