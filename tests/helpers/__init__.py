"""What tests of several folders share; `small` has the smallest study."""
