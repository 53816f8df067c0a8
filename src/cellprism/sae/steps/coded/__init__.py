"""Whole epochs of topk and batchtopk, shared by threads."""
