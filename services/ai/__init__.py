"""Replies from the language model.

Owns schema `ai`; announces `AIReplyStarted`, `AIReplyReady`, `AIReplyFailed`,
`AIReplyStopped`, `ChatroomTitled` and `ChatroomSummarised`.
"""
