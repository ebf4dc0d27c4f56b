"""A round: clients train, their updates are summed, the model moves.

`round` is a round, read second; `client` one client; `contributions` what it
shares; `sums` the sum over all; `collection` what the central server has;
`step` what it makes of it. `plain` has the clients of a round train and share
at once, `robust` lets them be attacked and weighed in between.
"""
