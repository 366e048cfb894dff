"""Replies from the language model.

Owns schema `ai`; announces `AIReplyStarted`, `AIReplyReady` and `AIReplyFailed`.
"""
