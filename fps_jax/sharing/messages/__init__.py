"""The bytes of messages: `shared` of shares, `clear` of everything else.

`header` begins each, `inbox` is what a receiver takes and refuses.
"""
