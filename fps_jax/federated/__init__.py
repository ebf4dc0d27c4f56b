"""A round: clients train, their updates are summed, the model moves.

`round` is a round, read second; `client` one client; `contributions` what it
shares; `parallel` the sum over all; `collection` what the central server has;
`step` what it makes of it. `robust` is the same with attacks and defences.
"""
