"""Secret sharing: field, codec, Shamir's scheme, sum protocols, wire format."""
