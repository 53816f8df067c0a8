"""Whole epochs of relu and of topk with many active features, in up to four dimensions."""
