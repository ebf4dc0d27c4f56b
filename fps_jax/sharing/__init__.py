"""Secret sharing: field, codec, cipher, scheme, sums, audits, messages."""
