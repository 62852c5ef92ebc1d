"""What the tests of farmhand, and of its plugins, are made of; nothing in the product imports it.

``farmhand.testing.stores`` needs pytest and Hypothesis; importing this package alone does not.
"""
