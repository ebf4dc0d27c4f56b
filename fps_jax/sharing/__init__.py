"""Secret sharing: field, codec, cipher, scheme, sums, audits.

`shamir` is the scheme, `protocol` the sums that rounds use. `messages` are the
bytes that travel, `sketches` short linear views of shares for defences.
"""
