"""Chatrooms, messages and what each user may still send.

Owns schema `chat`; announces `MessagePosted`.
"""
