"""Secret sharing: field, codec, cipher, Shamir's scheme, sums, audits.

`schemes` are what a config can choose, `protocol` the sums that rounds use, and
`on_host` what no round runs. `messages` are the bytes that travel, `sketches`
short linear views of shares for defences.
"""
