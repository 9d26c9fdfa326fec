"""A stand-in for Salesforce's original BLIP and LAVIS's: their names and calls, the weights of a transformers BLIP.

The real classes are tested in tests/lavis, in an environment of their own.
"""

import copy

import torch
from torch import nn


class PatchEmbed(nn.Module):
    def __init__(self, stock: nn.Conv2d, image_size: int):
        super().__init__()
        self.img_size = (image_size, image_size)
        self.proj = copy.deepcopy(stock)

    def forward(self, x):
        return self.proj(x).flatten(2).mT


class Attention(nn.Module):
    def __init__(self, stock):
        super().__init__()
        self.num_heads = stock.num_heads
        self.qkv, self.proj = copy.deepcopy(stock.qkv), copy.deepcopy(stock.projection)
        self.attention_map = None

    def forward(self, x, register_hook=False):
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(dim=-1)
        if register_hook:
            self.attention_map = weights
        return self.proj((weights @ value).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, stock):
        super().__init__()
        self.fc1, self.act, self.fc2 = copy.deepcopy(stock.fc1), nn.GELU(), copy.deepcopy(stock.fc2)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class DropPath(nn.Module):
    """Stochastic depth: in training, drops the residual of whole rows of the batch."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x):
        if not self.training:
            return x
        kept = torch.rand(x.shape[0], *[1] * (x.ndim - 1)) >= self.share
        return x * kept / (1 - self.share)


class Block(nn.Module):
    def __init__(self, stock, drop_path: float):
        super().__init__()
        self.norm1 = copy.deepcopy(stock.layer_norm1)
        self.attn = Attention(stock.self_attn)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = copy.deepcopy(stock.layer_norm2)
        self.mlp = Mlp(stock.mlp)

    def forward(self, x, register_hook=False):
        x = x + self.drop_path(self.attn(self.norm1(x), register_hook=register_hook))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    def __init__(self, stock, drop_path: float = 0.0):
        super().__init__()
        self.patch_embed = PatchEmbed(stock.embeddings.patch_embedding, stock.config.image_size)
        self.cls_token = copy.deepcopy(stock.embeddings.class_embedding)
        self.pos_embed = copy.deepcopy(stock.embeddings.position_embedding)
        self.pos_drop = nn.Dropout(0.0)
        self.blocks = nn.ModuleList(Block(layer, drop_path) for layer in stock.encoder.layers)
        self.norm = copy.deepcopy(stock.post_layernorm)

    def forward(self, x, register_blk=-1):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = self.pos_drop(x + self.pos_embed)
        for number, block in enumerate(self.blocks):
            x = block(x, register_blk == number)
        return self.norm(x)

    def forward_features(self, x, register_blk=-1):
        """LAVIS's second door to the same."""
        return VisionTransformer.forward(self, x, register_blk)


class OriginalBlip(nn.Module):
    """The parts of a BLIP for retrieval, from transformers' `BlipForImageTextRetrieval`.

    Args:
        stock: whose weights are copied.
        momentum: keep the slowly moving copies that training on retrieval keeps.
        drop_path: the share of stochastic depth.
    """

    def __init__(self, stock, momentum: bool = False, drop_path: float = 0.0):
        super().__init__()
        self.visual_encoder = VisionTransformer(stock.vision_model, drop_path)
        self.text_encoder = copy.deepcopy(stock.text_encoder)
        self.vision_proj, self.text_proj = copy.deepcopy(stock.vision_proj), copy.deepcopy(stock.text_proj)
        self.itm_head = copy.deepcopy(stock.itm_head)
        self.temp = nn.Parameter(torch.tensor(0.07))
        if momentum:
            self.visual_encoder_m = copy.deepcopy(self.visual_encoder).requires_grad_(False)
            self.text_encoder_m = copy.deepcopy(self.text_encoder).requires_grad_(False)
            self.vision_proj_m = copy.deepcopy(self.vision_proj).requires_grad_(False)
            self.text_proj_m = copy.deepcopy(self.text_proj).requires_grad_(False)

    @torch.no_grad()
    def momentum_update(self, momentum: float = 0.9):
        """Walks the parameters of both encoders in step, as the original does."""
        pairs = zip(self.visual_encoder.parameters(), self.visual_encoder_m.parameters(), strict=True)
        for parameter, slow in pairs:
            assert parameter.shape == slow.shape
            slow.mul_(momentum).add_(parameter, alpha=1 - momentum)
